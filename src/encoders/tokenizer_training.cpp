// The trainer's settings, and what it refuses in words of ours.
#include "encoders/tokenizer_training.h"

#include <sentencepiece_trainer.h>

#include <charconv>
#include <string_view>
#include <unordered_map>

#include "core/error.h"

namespace microdit::encoders {
namespace {

class Captions final : public sentencepiece::SentenceIterator {
 public:
  explicit Captions(const std::vector<std::string>& captions) : captions_(captions) {}
  bool done() const override { return at_ >= captions_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return captions_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& captions_;
  std::size_t at_ = 0;
};

/// The number behind `words` in a message; 0: none.
std::int64_t number_behind(std::string_view message, std::string_view words) {
  std::int64_t number = 0;
  const std::size_t at = message.find(words);
  if (at != message.npos)
    std::from_chars(message.data() + at + words.size(), message.data() + message.size(), number);
  return number;
}

[[noreturn]] void refuse(const std::string& message, const UnigramTraining& settings, std::size_t captions) {
  if (const std::int64_t most = number_behind(message, "a value <= "); most > 0)
    core::user_error("vocabulary={}: the {} captions yield {} pieces at most; set vocabulary={}, or less",
                     settings.vocabulary, captions, most, most);
  const std::string least = fmt::format("required_chars. {} vs ", settings.vocabulary);
  if (const std::int64_t characters = number_behind(message, least); characters > 0)
    core::user_error(
        "vocabulary={}: the captions have {} different characters and specials, each of which is a piece; "
        "set "
        "vocabulary above {}, or a smaller character_coverage",
        settings.vocabulary, characters, characters);
  core::user_error("vocabulary={}: no tokenizer comes of the {} captions: {}", settings.vocabulary, captions,
                   message);
}

}  // namespace

std::string train_unigram(const std::vector<std::string>& captions, const UnigramTraining& settings) {
  const std::unordered_map<std::string, std::string> words = {
      {"model_type", "unigram"},
      {"vocab_size", std::to_string(settings.vocabulary)},
      {"character_coverage", fmt::format("{}", settings.character_coverage)},
      {"normalization_rule_name", settings.fold_case ? "nmt_nfkc_cf" : "nmt_nfkc"},
      {"max_sentence_length", std::to_string(kLongestSentence)},
      {"pad_id", "0"},
      {"eos_id", "1"},
      {"unk_id", "2"},
      {"bos_id", "-1"},
      {"num_threads", "1"},  // sums of several would depend on how many there are
      {"minloglevel", "2"}};
  Captions sentences(captions);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(words, &sentences, &model);
  if (!status.ok()) refuse(status.message(), settings, captions.size());
  return model;
}

}  // namespace microdit::encoders
