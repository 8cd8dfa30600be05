// How fake NCCL's ranks meet, be they threads or processes: small files in one folder.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace microdit::fakes {

class Mailbox {
 public:
  explicit Mailbox(std::string folder) : folder_(std::move(folder)) {}
  /// A fresh folder in $TMPDIR or /tmp.
  static std::string make_folder();
  /// Writes a letter; whoever looks finds it whole or not at all. False where the folder is gone.
  bool post(const std::string& name, std::span<const unsigned char> letter) const;
  /// The letter, which stays.
  bool read(const std::string& name, std::vector<unsigned char>& letter) const;
  bool has(const std::string& name) const;
  void remove(const std::string& name) const;
  bool is_gone() const;
  void remove_all() const;

 private:
  std::string folder_;
};

}  // namespace microdit::fakes
