// Sorting in little memory, rules for rows of one key, and what a stop, a kill or a full disk leaves.
#include "tables/table_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <random>
#include <thread>

#include "core/utf8.h"
#include "tables/limits.h"
#include "tables/scratch.h"
#include "tables/table_file.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Rows = std::vector<std::pair<std::string, std::string>>;

TableSpec spec_of(const std::string& repeated) {
  return {.kind = "csv",
          .files = {"x.csv"},
          .key = "{key}",
          .columns = {{"caption", "text"}},
          .repeated = repeated};
}

TableCounts build(const std::filesystem::path& path, const Rows& rows, const TableSpec& spec,
                  std::size_t memory, const core::StopFlag& stop = core::StopFlag()) {
  TableBuilder builder(path, spec, stop, {.memory = memory, .made_from = R"({"of": "x.csv"})"});
  for (const auto& [key, text] : rows) builder.add(std::vector<Value>{key, text});
  return builder.finish();
}

/// Many keys, each once or several times, of all lengths, in no order.
Rows many_rows(std::size_t number) {
  std::mt19937 random(7);
  Rows rows;
  for (std::size_t i = 0; i < number; ++i) {
    std::string key = "part-" + std::to_string(random() % (number / 2));
    if (random() % 16 == 0) key += std::string(random() % 300, 'x');
    rows.emplace_back(key, std::to_string(i) + std::string(random() % 50, 't'));
  }
  return rows;
}

TEST(TableBuilder, KeepsAllRowsOfAKeyInTheirOrder) {
  const ScratchFolder folder;
  const Rows rows = many_rows(20'000);
  std::map<std::string, std::vector<std::string>> expected;
  for (const auto& [key, text] : rows) expected[key].push_back(text);
  const TableCounts counts = build(folder / "a.table", rows, spec_of("all"), 100'000);
  EXPECT_EQ(counts.rows, rows.size());
  EXPECT_EQ(counts.keys, expected.size());
  EXPECT_EQ(counts.repeated, rows.size() - expected.size());
  const TableFile table(folder / "a.table");
  table.verify();
  EXPECT_EQ(table.made_from(), R"({"of": "x.csv"})");
  EXPECT_EQ(table.counts().keys, expected.size());
  for (const auto& [key, texts] : expected) {
    std::vector<std::string> found;
    for (const Row& row : table.find(key)) found.push_back(std::get<std::string>(row[0]));
    ASSERT_EQ(found, texts) << key;
    ASSERT_THAT(table.find(key + "y"), IsEmpty());
  }
  for (const char* absent : {"", "a", "part", "part-", "part-0x", "q", "\xff"})
    EXPECT_THAT(table.find(absent), IsEmpty());
}

TEST(TableBuilder, KeepsTheFirstRowOfAKey) {
  const ScratchFolder folder;
  const Rows rows = many_rows(20'000);
  std::map<std::string, std::string> expected(rows.begin(), rows.end());
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) expected[row->first] = row->second;
  const TableCounts counts = build(folder / "a.table", rows, spec_of("first"), 100'000);
  EXPECT_EQ(counts.repeated, rows.size() - expected.size());
  const TableFile table(folder / "a.table");
  table.verify();
  for (const auto& [key, text] : expected) ASSERT_THAT(table.find(key), ElementsAre(Row{text})) << key;
}

TEST(TableBuilder, GivesTheSameBytesInAnyMemory) {
  const ScratchFolder folder;
  const Rows rows = many_rows(5'000);
  for (const char* rule : {"first", "all"}) {
    build(folder / "large", rows, spec_of(rule), 64 << 20);
    for (const std::size_t memory : {3'000, 30'001, 300'000}) {
      build(folder / "small", rows, spec_of(rule), memory);
      EXPECT_EQ(contents(folder / "small"), contents(folder / "large")) << rule << memory;
    }
  }
  EXPECT_THAT(folder.names(), ElementsAre("large", "small"));
}

TEST(TableBuilder, CountsRowsWithoutAKeyAndRefusesATableOfThem) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  TableBuilder builder(folder / "a", spec_of("first"), stop);
  builder.add(std::vector<Value>{Value(), "x"});
  builder.add(std::vector<Value>{"k", "y"});
  const TableCounts counts = builder.finish();
  EXPECT_EQ(counts.without_key, 1u);
  EXPECT_EQ(counts.without_key_example, "row 1: `key` is absent");
  EXPECT_EQ(TableFile(folder / "a").counts().without_key, 1u);
  TableBuilder none(folder / "b", spec_of("first"), stop);
  none.add(std::vector<Value>{Value(), "x"});
  EXPECT_THAT(message_of<core::UserError>([&] { none.finish(); }),
              HasSubstr("`key` of the table of x.csv: no row has it (row 1: `key` is absent)"));
  EXPECT_THAT(message_of<core::UserError>([&] { build(folder / "empty", {}, spec_of("first"), 1 << 20); }),
              HasSubstr("table of x.csv: has no rows"));
}

TEST(TableBuilder, RefusesBadTextAndKeysOfTooManyRows) {
  const ScratchFolder folder;
  const auto refusal = [&](const Rows& rows, const char* rule = "all") {
    return message_of<core::UserError>([&] { build(folder / "a", rows, spec_of(rule), 64 << 20); });
  };
  EXPECT_THAT(refusal({{"k", "ok"}, {"a\xff", "x"}, {"b\xff", "x"}}),
              HasSubstr("2 of 3 rows are damaged (x.csv: row 2: its key is not UTF-8"));
  EXPECT_THAT(refusal({{"a", "x\xff"}}), HasSubstr("row 1: its `text` is not UTF-8"));
  EXPECT_THAT(refusal({{std::string("a\0b", 3), "x"}}), HasSubstr("a zero byte"));
  EXPECT_THAT(refusal({{"a", std::string(2 << 20, 'x')}}), HasSubstr("more than 1048576 bytes"));
  const Rows one_key(limits::kRowsPerKey + 1, {"same", "x"});
  EXPECT_THAT(refusal(one_key), HasSubstr("more than 1000 rows, or 4194304 bytes, for 'same'"));
  EXPECT_EQ(refusal(one_key, "first"), "");
  EXPECT_THAT(refusal(Rows(5, {"same", std::string(1'000'000, 'x')})), HasSubstr("for 'same'"));
}

TEST(TableBuilder, RefusesMoreDamagedRowsThanOneInAHundredOfAnyKind) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  for (const char* kind : {"csv", "json", "parquet", "texts"}) {
    const auto refusal = [&](int good, int damaged) {
      TableSpec spec = spec_of("first");
      spec.kind = kind;
      TableBuilder builder(folder / "a", spec, stop);
      for (int i = 0; i < good; ++i) builder.add(std::vector<Value>{fmt::format("{}", i), "x"});
      for (int i = 0; i < damaged; ++i) {
        if (spec.kind == "texts") builder.add(std::vector<Value>{fmt::format("damaged {}", i), Value()});
        builder.count_damaged("this one");
      }
      return message_of<core::UserError>([&] { builder.finish(); });
    };
    EXPECT_EQ(refusal(5, 1), "") << kind;
    EXPECT_THAT(refusal(5, 2), HasSubstr("2 of 7 rows are damaged (this one), more than one of 100: "))
        << kind;
    EXPECT_THAT(refusal(197, 3), HasSubstr("3 of 200 rows are damaged")) << kind;
    EXPECT_EQ(refusal(297, 3), "") << kind;
    EXPECT_THAT(refusal(1000, 11), HasSubstr("UTF-8")) << kind;
  }
}

TEST(TableBuilder, CountsDamagedRowsAndLeavesThemOut) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  TableBuilder builder(folder / "a", spec_of("first"), stop);
  builder.add(std::vector<Value>{"k", "x"});
  builder.add(std::vector<Value>{"l", "y\xff"});
  builder.add(std::vector<Value>{std::string("a\0b", 3), "z"});
  builder.add(std::vector<Value>{"m", "z"});
  builder.add(std::vector<Value>{"k", "again"});
  for (int i = 0; i < 195; ++i) builder.add(std::vector<Value>{fmt::format("more {}", i), "z"});
  const TableCounts counts = builder.finish();
  EXPECT_EQ(counts.rows, 198u);
  EXPECT_EQ(counts.damaged, 2u);
  EXPECT_EQ(counts.damaged_example, "x.csv: row 2: its `text` is not UTF-8; convert the file to UTF-8");
  EXPECT_EQ(counts.keys, 197u);
  EXPECT_EQ(counts.repeated, 1u);
  const TableFile table(folder / "a");
  table.verify();
  EXPECT_TRUE(table.find("l").empty());
  EXPECT_EQ(table.find("m").size(), 1u);
}

/// Whether a build of `a` is under way: sorted runs, or the output.
bool holds_hidden(const ScratchFolder& folder) {
  const auto names = folder.names();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.starts_with(".a."); });
}

TEST(TableBuilder, HeedsAStopWithinASecond) {
  const ScratchFolder folder;
  const Rows rows = many_rows(100'000);
  int stopped = 0;
  for (int ms = 0; ms < 30; ms += 3) {
    core::StopFlag stop;
    std::chrono::steady_clock::time_point asked;
    std::thread asks([&] {
      for (int i = 0; i < 10'000 && !holds_hidden(folder); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::this_thread::sleep_for(std::chrono::milliseconds(ms));
      asked = std::chrono::steady_clock::now();
      stop.request();
    });
    try {
      build(folder / "a", rows, spec_of("all"), 1 << 20, stop);
      asks.join();
    } catch (const core::Stopped&) {
      const auto took = std::chrono::steady_clock::now();
      asks.join();
      EXPECT_LT(took - asked, std::chrono::seconds(1));
      ++stopped;
      EXPECT_THAT(folder.names(), testing::AnyOf(IsEmpty(), ElementsAre("a")));
    }
  }
  EXPECT_GT(stopped, 0);
  core::StopFlag stop;
  TableBuilder builder(folder / "b", spec_of("all"), stop);
  builder.add(std::vector<Value>{"k", "x"});
  stop.request();
  EXPECT_THROW(builder.add(std::vector<Value>{"k", "x"}), core::Stopped);
  EXPECT_THROW(builder.finish(), core::Stopped);
  EXPECT_FALSE(std::filesystem::exists(folder / "b"));
}

int status_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

/// Also what another life of the test below does, there where TABLE_TO says.
TEST(TableBuilder, SpillsManyRuns) {
  const ScratchFolder folder;
  const char* to = ::getenv("TABLE_TO");
  const std::filesystem::path path = to == nullptr ? folder / "a" : std::filesystem::path(to);
  build(path, many_rows(60'000), spec_of("all"), 200'000);
  const TableFile table(path);
  table.verify();
  EXPECT_EQ(table.counts().rows, 60'000u);
}

/// Another program that builds `a`, killed a while after its work begins; whether it was still at it.
bool killed_while_building(const ScratchFolder& folder, int after_ms) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("TABLE_TO", (folder / "a").c_str(), 1);
    ::execl("/proc/self/exe", "test", "--gtest_brief=1", "--gtest_filter=TableBuilder.SpillsManyRuns",
            nullptr);
    ::_exit(9);
  }
  for (int i = 0; i < 10'000 && !holds_hidden(folder); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(after_ms));
  ::kill(child, SIGKILL);
  const int status = status_of(child);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

TEST(TableBuilder, LeavesNothingBehindThatANextLifeKeeps) {
  const ScratchFolder folder;
  build(folder / "whole", many_rows(60'000), spec_of("all"), 1 << 20);
  int killed = 0, left = 0;
  for (int ms = 0; ms < 60; ms += 9) {
    killed += killed_while_building(folder, ms);
    left += folder.names().size() > 1;
    if (std::filesystem::exists(folder / "a")) {
      EXPECT_EQ(contents(folder / "a"), contents(folder / "whole"));
    }
  }
  EXPECT_GT(killed, 0);
  EXPECT_GT(left, 0) << "nothing was left: the test is blind";
  build(folder / "a", many_rows(60'000), spec_of("all"), 200'000);
  EXPECT_THAT(folder.names(), ElementsAre("a", "whole"));
  EXPECT_EQ(contents(folder / "a"), contents(folder / "whole"));
}

TEST(TableBuilder, TakesAFullDiskForWhatItIs) {
  const ScratchFolder folder;
  const Rows rows = many_rows(60'000);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit least{.rlim_cur = 300'000, .rlim_max = 300'000};
    ::setrlimit(RLIMIT_FSIZE, &least);
    try {
      build(folder / "a", rows, spec_of("all"), 200'000);
    } catch (const core::UserError&) {
      ::_exit(2);
    } catch (const core::SystemError& error) {
      ::_exit(std::string(error.what()).find("cannot be written") != std::string::npos ? 3 : 4);
    }
    ::_exit(0);
  }
  EXPECT_EQ(WEXITSTATUS(status_of(child)), 3);
  EXPECT_THAT(folder.names(), IsEmpty());
}

}  // namespace
}  // namespace microdit::tables
