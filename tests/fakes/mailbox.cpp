// Letters appear by rename, so no reader sees half of one.
#include "mailbox.h"

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace microdit::fakes {

namespace fs = std::filesystem;

std::string Mailbox::make_folder() {
  std::string name = fs::temp_directory_path() / "fake_nccl_XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder for fake NCCL: " + name);
  return name;
}

bool Mailbox::post(const std::string& name, std::span<const unsigned char> letter) const {
  const std::string draft = folder_ + "/draft." + name;
  {
    std::ofstream out(draft, std::ios::binary);
    out.write(reinterpret_cast<const char*>(letter.data()), static_cast<std::streamsize>(letter.size()));
    if (!out) return false;
  }
  std::error_code error;
  fs::rename(draft, folder_ + "/" + name, error);
  return !error;
}

bool Mailbox::read(const std::string& name, std::vector<unsigned char>& letter) const {
  std::ifstream in(folder_ + "/" + name, std::ios::binary);
  if (!in) return false;
  letter.assign(std::istreambuf_iterator<char>(in), {});
  return true;
}

bool Mailbox::has(const std::string& name) const {
  return fs::exists(folder_ + "/" + name);
}

void Mailbox::remove(const std::string& name) const {
  std::error_code ignored;
  fs::remove(folder_ + "/" + name, ignored);
}

bool Mailbox::is_gone() const {
  return !fs::exists(folder_);
}

void Mailbox::remove_all() const {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

}  // namespace microdit::fakes
