// Rows that the ranks made block by block, on every rank in the order of the blocks.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <map>

#include "comm/communicator.h"
#include "eval/painter.h"

namespace microdit::eval {

/// `own`: this rank's blocks by number; block b is of rank b modulo the ranks. One member of all of them,
/// joined. Collective.
torch::Tensor gather_rows(const std::map<std::size_t, Painting>& own, torch::Tensor Painting::*member,
                          comm::Communicator& comm);
/// All of kPaintingRows, joined likewise.
Painting gather_painting(const std::map<std::size_t, Painting>& own, comm::Communicator& comm);

}  // namespace microdit::eval
