// What lies at and below a folder that doctor is pointed at.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace microdit::jobs {

enum class Stored { stage, checkpoint, mds };

struct StoredFolder {
  std::filesystem::path folder;
  Stored kind = Stored::stage;
};

/// Stage folders, checkpoints and MDS folders, sorted by path; hidden folders and what lies inside of one found are not
/// looked at. UserError ("doctor: COMMAND WHERE: ...") when there is no such folder.
std::vector<StoredFolder> find_stored(const std::string& command, const std::string& where);

}  // namespace microdit::jobs
