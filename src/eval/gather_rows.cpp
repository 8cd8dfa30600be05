// Bytes of tensors between ranks.
#include "eval/gather_rows.h"

#include <torch/utils.h>

#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"

namespace microdit::eval {
namespace {

/// "rank axes... \n" and the values.
std::string pack(const torch::Tensor& tensor) {
  const torch::Tensor packed = tensor.cpu().to(torch::kFloat32).contiguous();
  std::string text = fmt::format("{}", packed.dim());
  for (const std::int64_t extent : packed.sizes()) text += fmt::format(" {}", extent);
  text += "\n";
  text.append(static_cast<const char*>(packed.const_data_ptr()), packed.nbytes());
  return text;
}

torch::Tensor unpack(const std::string& text, std::size_t& at) {
  const std::size_t end = text.find('\n', at);
  std::istringstream head(text.substr(at, end - at));
  std::size_t axes = 0;
  head >> axes;
  std::vector<std::int64_t> shape(axes);
  for (std::int64_t& extent : shape) head >> extent;
  torch::Tensor tensor = torch::empty(shape, torch::kFloat32);
  core::check(end != text.npos && end + 1 + tensor.nbytes() <= text.size(), "a gathered tensor is cut");
  std::memcpy(tensor.data_ptr(), text.data() + end + 1, tensor.nbytes());
  at = end + 1 + tensor.nbytes();
  return tensor;
}

}  // namespace

torch::Tensor gather_rows(const std::map<std::size_t, Painting>& own, torch::Tensor Painting::*member,
                          comm::Communicator& comm) {
  const bool none = comm.any(own.empty() ? false : !(own.begin()->second.*member).defined());
  if (none) return {};  // what the model does not take
  std::string here;
  for (const auto& [block, painting] : own) here += pack(painting.*member);
  const std::vector<std::string> all = comm.all_gather(here);
  std::vector<std::size_t> at(all.size(), 0);
  std::vector<torch::Tensor> rows;
  for (std::size_t block = 0; at[block % all.size()] < all[block % all.size()].size(); ++block) {
    const std::size_t rank = block % all.size();
    rows.push_back(unpack(all[rank], at[rank]));
  }
  return torch::cat(rows);
}

Painting gather_painting(const std::map<std::size_t, Painting>& own, comm::Communicator& comm) {
  Painting all;
  for (const auto member : kPaintingRows) all.*member = gather_rows(own, member, comm);
  return all;
}

}  // namespace microdit::eval
