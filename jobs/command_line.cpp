// Options, key=value words, and what somebody meant who wrote neither.
#include "command_line.h"

#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "core/nearest.h"
#include "core/shipped.h"
#include "core/utf8.h"
#include "provenance.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kKeyLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

/// "key=value" or "+key=value" with a key that begins like a config key, or "~key"; everything else is a word.
bool is_override(const std::string& word) {
  if (word.starts_with('~')) {
    const std::size_t end = word.find_first_not_of(kKeyLetters, 1);
    return word.size() > 1 && (end == word.npos || (end > 1 && word[end] == '='));
  }
  const std::size_t begin = word.starts_with('+') ? 1 : 0;
  const auto equals = word.find('=');
  return equals != word.npos && equals > begin && word.find_first_not_of(kKeyLetters, begin) == equals;
}

/// What a word with '=' was probably meant to be: data[0].x=1, ++x=1.
std::string word_hint(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos) return "";
  std::string key;
  for (const char c : word.substr(0, equals)) {
    if (c == '[')
      key += '.';
    else if (std::string_view("+~] ").find(c) == std::string_view::npos)
      key += c;
  }
  const std::string meant = key + word.substr(equals);
  if (meant == word || !is_override(meant)) return "";
  return fmt::format(": write {}", core::with_valid_utf8(meant));
}

/// First words of the table of keys.
std::vector<std::string> known_keys(const JobInfo& info) {
  std::vector<std::string> keys;
  std::istringstream in(info.field_help);
  for (std::string line; std::getline(in, line);) keys.push_back(line.substr(0, line.find(' ')));
  return keys;
}

std::vector<std::string> known_options(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  return names;
}

/// What Hydra's options are called here; "" for others.
std::string hydra_hint(const std::string& name) {
  if (name == "m" || name == "multirun") return "; several values of a key: slurm/sweep.sh --grid KEY=A,B";
  if (name == "cfg" || name == "resolve" || name == "info") return "; --print-config shows the settings";
  if (name == "cn" || name == "config-name" || name == "cp" || name == "config-path" || name == "cd" ||
      name == "config-dir")
    return "; --config FILE or --config NAME names the settings";
  return "";
}

/// An option that there is not: a key with dashes (--steps 5), one that is misspelt, another program's.
std::string option_hint(int argc, char** argv, const CLI::App& app, const JobInfo& info) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::size_t begin = std::min(word.find_first_not_of('-'), word.size());
    std::string name = word.substr(begin, word.find('=') - begin);
    if (begin == 0 || name.empty() || app.get_option_no_throw(word.substr(0, word.find('='))) != nullptr)
      continue;
    if (const std::string hint = hydra_hint(name); !hint.empty()) return hint;
    const bool has_value = word.find('=') != word.npos;
    std::string value = has_value      ? word.substr(word.find('=') + 1)
                        : i + 1 < argc ? std::string(argv[i + 1])
                                       : "VALUE";
    const std::vector<std::string> keys = known_keys(info);
    const auto is_key = [&](const std::string& key) {
      return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    std::string key = name;
    std::ranges::replace(key, '-', '_');
    const auto option = core::nearest(name, known_options(app));
    if (option && !is_key(key)) return fmt::format("; did you mean --{}?", *option);
    if (const auto near = core::nearest(key, keys); near && !is_key(key)) key = *near;
    if (!is_key(key)) {
      const std::string other = core::other_key(key, keys);
      if (other.empty()) return "; no such option and no such key (see --help)";
      if (name.ends_with("epochs")) value += "ep";
      key = other;
    }
    const std::string meant = fmt::format("{}={}", key, value);
    if (is_override(meant))
      return fmt::format("; a key is given without dashes: {}", core::with_valid_utf8(meant));
  }
  return "";
}

/// What `FOLDER=NAME` says of that folder of configs/; nullptr: it is no such word.
const char* picked_config(const JobInfo& info, const std::string& word) {
  std::string group = info.config_folder;
  if (group.ends_with('s')) group.pop_back();
  return !group.empty() && word.starts_with(group + "=") ? word.c_str() + group.size() + 1 : nullptr;
}

void sort_words(const JobInfo& info, const std::vector<std::string>& words, CommandLine& line) {
  for (const std::string& word : words) {
    if (const char* name = picked_config(info, word); name != nullptr && *name != '\0') {
      if (!line.config.empty())
        core::user_error("{}: {} and --config {} both name the settings: leave one out", info.name,
                         core::with_valid_utf8(word), core::with_valid_utf8(line.config));
      line.config = name;
    } else if (is_override(word) && (info.positional_help.empty() || word[0] != '~')) {
      line.overrides.push_back(word);
    } else if (!info.positional_help.empty()) {
      line.positional.push_back(word);
    } else {
      core::user_error("{}: '{}' is neither an option nor key=value{} (see --help)", info.name,
                       core::with_valid_utf8(word), word_hint(word));
    }
  }
}

/// A name alone is that of a file in configs/.
void find_config(const JobInfo& info, CommandLine& line) {
  const std::string& name = line.config;
  if (name.empty() || info.config_folder.empty() || name.find('/') != name.npos || name.ends_with(".yaml") ||
      fs::is_regular_file(name))
    return;
  const fs::path folder = fs::path("configs") / info.config_folder, file = folder / (name + ".yaml");
  const std::vector<std::string> names = core::config_names(core::shipped(folder));
  if (names.empty()) return;
  if (!std::binary_search(names.begin(), names.end(), name)) {
    const auto near = core::nearest(name, names);
    core::user_error("{}: there is no {}{}; there are: {}", info.name, core::with_valid_utf8(file.string()),
                     near ? fmt::format(" (did you mean {}?)", *near) : "", fmt::join(names, ", "));
  }
  line.config = file.string();
}

void add_options(CLI::App& app, const JobInfo& info, CommandLine& line) {
  if (info.takes_config) {
    app.add_option("--config", line.config,
                   info.config_folder.empty()
                       ? "YAML file"
                       : fmt::format("YAML file, or the name of one in configs/{}", info.config_folder));
    app.add_flag("--print-config", line.print_config,
                 "print the resolved config and where each value comes from, and stop");
  }
  if (info.takes_config || info.takes_run || info.has_dry_run)
    app.add_flag("--dry-run", line.dry_run, "check everything, say what would be done, do nothing");
  if (info.makes_run)
    app.add_flag(
        "--check-settings", line.check_settings,
        "compare the settings with those of the run, if it exists, and stop: 0 = it may start or go on");
  if (info.takes_run)
    app.add_option("--run", line.run, "run folder (runs/NAME), or one of its checkpoints/step_N");
  if (info.takes_prompts) {
    app.add_option("--prompt", line.prompts, "what to paint; may be given several times")
        ->allow_extra_args(false);
    app.add_option("--prompts", line.prompts_file,
                   "text file, one prompt per line; .jsonl: of objects with a text `prompt`");
    app.add_option("--class", line.classes,
                   "of a class-conditional model: name or number; may be given several times; without one: "
                   "every class")
        ->allow_extra_args(false);
    app.add_option("--classes", line.classes_file, "YAML file, as `classes: [3, cat]`");
  }
  for (const std::string& name : info.path_options)
    app.add_option("--" + name, line.paths[name], name + " file or folder");
}

std::string footer(const JobInfo& info) {
  const std::string codes =
      "Exit codes: 0 done, 2 your input, 75 requeue me, 76 hardware or communication fault, others failure.";
  if (info.field_help.empty()) return codes;
  return "Keys (key=value overrides the file, +key=value adds to a list or mapping, ~key takes away):\n" +
         info.field_help + "\n" + codes;
}

}  // namespace

bool parse_command_line(int argc, char** argv, const JobInfo& info, CommandLine& line) {
  CLI::App app{info.summary, info.name};
  app.set_help_flag("--help,-h", "print this and stop");
  std::vector<std::string> words;
  bool version = false;
  app.add_flag("--version", version, "print the version and stop");
  add_options(app, info, line);
  app.add_option("words", words, info.positional_help.empty() ? "key=value overrides" : info.positional_help);
  app.footer(footer(info));
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--") &&
        word.find('=') == word.size() - 1)  // the parser would take the next word instead
      core::user_error("{}: {}: nothing stands after '='", info.name, core::with_valid_utf8(word));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    core::user_error("{}: {}{} (see --help)", info.name, core::with_valid_utf8(error.what()),
                     option_hint(argc, argv, app, info));
  }
  if (version) {
    fmt::print("{} ({})\n", info.name, build_text());
    return false;
  }
  sort_words(info, words, line);
  find_config(info, line);
  return true;
}

}  // namespace microdit::jobs
