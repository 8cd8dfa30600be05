// Files of numpy's making, and files that nobody made in good faith.
#include "score/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/zip_writer.h"
#include "encoders/temporary_folder.h"

namespace microdit::score {
namespace {

using encoders::TemporaryFolder;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string npy(const std::string& header, const std::string& data, char version = 1) {
  std::string text = "\x93NUMPY";
  text += version;
  text += '\0';
  text += static_cast<char>(header.size() & 0xff);
  text += static_cast<char>(header.size() >> 8);
  if (version > 1) text += std::string(2, '\0');
  return text + header + data;
}

class Npz : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& npy_bytes) {
    const auto path = folder_.path() / "a.npz";
    core::ZipWriter zip(path);
    zip.add("a.npy", bytes_of(npy_bytes));
    zip.publish();
    return path;
  }
  std::string refused(const std::string& npy_bytes) {
    const auto path = file(npy_bytes);
    return encoders::message_of<core::UserError>([&] { NpzFile(path).array("a"); });
  }
  TemporaryFolder folder_;
};

TEST_F(Npz, reads_back_what_it_wrote) {
  NpzContents contents;
  contents.add("matrix", Array{{2, 3}, {1, 2, 3, 4, 5, 6.5}});
  contents.add("count", std::int64_t{-7});
  contents.add("text", std::string("words, \xc3\xa9"));
  const auto path = folder_.path() / "b.npz";
  contents.write(path);
  const NpzFile back(path);
  EXPECT_EQ(back.array("matrix").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(back.array("matrix").values, (std::vector<double>{1, 2, 3, 4, 5, 6.5}));
  EXPECT_EQ(back.integer("count"), -7);
  EXPECT_EQ(back.text("text"), "words, \xc3\xa9");
  EXPECT_THAT(encoders::message_of<core::UserError>([&] { back.array("other"); }), HasSubstr("not there"));
  EXPECT_THAT(encoders::message_of<core::UserError>([&] { back.array("text"); }), HasSubstr("is of type |S"));
}

TEST_F(Npz, reads_other_forms_of_the_header) {
  const std::string data = std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40", 16);  // 1 2 3 4
  for (const char version : {'\1', '\2', '\3'}) {
    const auto path =
        file(npy("{'shape': (2, 2), 'descr': \"<f4\", 'fortran_order': True}\n", data, version));
    EXPECT_EQ(NpzFile(path).array("a").values, (std::vector<double>{1, 3, 2, 4}));
  }
}

TEST_F(Npz, refuses_what_no_numpy_writes) {
  const std::string one(8, '\0');
  const auto header = [](const std::string& descr, const std::string& shape) {
    return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  };
  EXPECT_THAT(refused("no array"), HasSubstr("no .npy"));
  EXPECT_THAT(refused(npy(header("<f8", "1,"), one, 9)), HasSubstr("version 9"));
  EXPECT_THAT(refused(npy(header("<f8", "2,"), one)), HasSubstr("needs 16 bytes, 8 are there"));
  EXPECT_THAT(refused(npy(header("|O", "1,"), one)), HasSubstr("of type |O"));
  EXPECT_THAT(refused(npy(header(">f8", "1,"), one)), HasSubstr("of type >f8"));
  EXPECT_THAT(refused(npy(header("<f8", "4294967296, 4294967296, 4294967296"), one)), HasSubstr("too much"));
  EXPECT_THAT(refused(npy(header("<f8", "-1,"), one)), HasSubstr("header"));
  EXPECT_THAT(refused(npy("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", one)),
              HasSubstr("header"));
  EXPECT_THAT(refused(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} + 1", one)),
              HasSubstr("header"));
  EXPECT_THAT(refused(npy("{'descr': '<f8'", one)), HasSubstr("header"));
  std::string longer = npy(header("<f8", "1,"), one);
  longer[8] = longer[9] = '\xff';
  EXPECT_THAT(refused(longer), HasSubstr("header claims 65535"));
}

TEST_F(Npz, refuses_damage) {
  const auto path =
      file(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n", std::string(8, 'x')));
  std::string bytes = core::read_text(path);
  bytes[bytes.find("xxxxxxxx") + 3] = 'y';
  core::atomic_write(path, bytes);
  EXPECT_THAT(encoders::message_of<core::UserError>([&] { NpzFile(path).array("a"); }),
              HasSubstr("checksum"));
  core::atomic_write(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(encoders::message_of<core::UserError>([&] { NpzFile{path}; }), HasSubstr("no .npz"));
}

}  // namespace
}  // namespace microdit::score
