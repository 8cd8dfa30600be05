// By finding them: that compares the hashes of whatever may be them.
#include "eval/encoder_hashes.h"

#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"

namespace microdit::eval {

void hash_encoders_once(const encoders::CodecFacts& codec, const encoders::TextEncoderFacts& text_encoder,
                        const std::filesystem::path& run_folder, comm::Communicator& comm,
                        const core::StopFlag& stop) {
  const comm::WiderDeadline others_wait(comm, kLongestHash_s);
  comm.on_root([&] {
    if (!codec.kind.empty()) encoders::find_image_codec_folder(codec, run_folder, stop);
    if (!text_encoder.kind.empty()) encoders::find_text_encoder_folder(text_encoder, run_folder, stop);
  });
}

}  // namespace microdit::eval
