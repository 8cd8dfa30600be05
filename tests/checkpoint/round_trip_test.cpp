// Saved on some ranks, read on others; same bytes whoever and whenever; misuse is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "checkpoint/sample_checkpoints.h"
#include "checkpoint/thread_ranks.h"

namespace microdit::checkpoint {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(RoundTrip, SavedOnTwoRanksReadOnOneAndThree) {
  const Scratch scratch;
  ASSERT_THAT(on_ranks(2, [&](comm::Communicator& comm) { save(scratch.path(), 7, comm); }), Each(IsEmpty()));
  EXPECT_THAT(names_in(scratch.path()), ElementsAre("step_0000007"));
  EXPECT_THAT(
      names_in(scratch.path() / "step_0000007"),
      ElementsAre("manifest.json", "shard_00000_of_00002.safetensors", "shard_00001_of_00002.safetensors"));
  const Tensors tensors = sample_tensors(7);
  for (const int size : {1, 3}) {
    EXPECT_THAT(on_ranks(size,
                         [&](comm::Communicator& comm) {
                           const auto reader = open_latest(scratch.path(), comm);
                           ASSERT_TRUE(reader);
                           EXPECT_EQ(reader->step(), 7);
                           EXPECT_EQ(reader->state(), sample_state(7));
                           EXPECT_TRUE(holds(*reader, tensors));
                           for (const Part& share : parts_of(tensors, comm.rank(), comm.size())) {
                             std::vector<float> values(share.values.size(), -9);
                             reader->read(share.name, share.begin, values);
                             EXPECT_TRUE(std::ranges::equal(values, share.values.span())) << share.name;
                           }
                         }),
                Each(IsEmpty()));
  }
}

TEST(RoundTrip, EveryRangeOfAResharedTensor) {
  const Scratch scratch;
  on_ranks(4, [&](comm::Communicator& comm) { save(scratch.path(), 1, comm); });
  const Reader reader(scratch.path() / step_name(1));
  const std::vector<float> whole = sample_tensors(1).at("weights/blocks.0.b").second;
  for (std::size_t begin = 0; begin <= whole.size(); ++begin) {
    for (std::size_t end = begin; end <= whole.size(); ++end) {
      std::vector<float> values(end - begin);
      reader.read("weights/blocks.0.b", static_cast<std::int64_t>(begin), values);
      ASSERT_TRUE(
          std::equal(values.begin(), values.end(), whole.begin() + static_cast<std::ptrdiff_t>(begin)));
    }
  }
  std::vector<float> one(1);
  EXPECT_THROW(reader.read("weights/blocks.0.b", 101, one), std::logic_error);
  EXPECT_THROW(reader.read("weights/unknown", 0, one), core::UserError);
}

TEST(RoundTrip, BytesDependOnContentsAlone) {
  const Scratch first, second;
  for (const Scratch* scratch : {&first, &second}) {
    on_ranks(2, [&](comm::Communicator& comm) { save(scratch->path(), 3, comm); });
  }
  for (const std::string& name : names_in(first.path() / "step_0000003")) {
    EXPECT_EQ(core::read_text(first.path() / "step_0000003" / name),
              core::read_text(second.path() / "step_0000003" / name));
  }
}

TEST(RoundTrip, TheCallerMayGoOnWhileItIsWritten) {
  const Scratch scratch;
  const auto comm = comm::make_local_communicator();
  Writer writer(scratch.path(), *comm);
  EXPECT_FALSE(writer.busy());
  std::vector<float> values(5'000'000);
  std::iota(values.begin(), values.end(), 0.f);
  writer.start(1, {{"weights/big", {5'000'000}, 0, values}}, sample_state(1));
  EXPECT_TRUE(writer.busy());
  EXPECT_FALSE(open_latest(scratch.path()));  // nothing visible before publish()
  writer.finish({0, 0});
  EXPECT_FALSE(writer.busy());
  EXPECT_TRUE(writer.durable_here());
  std::vector<float> back(values.size());
  open_latest(scratch.path())->read("weights/big", 0, back);
  EXPECT_EQ(back, values);
  // One at a time.
  writer.start(2, parts_of(sample_tensors(2), 0, 1), sample_state(2));
  EXPECT_THROW(writer.start(3, parts_of(sample_tensors(3), 0, 1), sample_state(3)), std::logic_error);
  writer.finish({0, 0});
  EXPECT_EQ(open_latest(scratch.path())->step(), 2);
  EXPECT_THROW(writer.publish({0, 0}), std::logic_error);
}

TEST(RoundTrip, ValuesMissingOrTwiceAreRefusedOnAllRanks) {
  const Scratch scratch;
  const auto attempt = [&](std::int64_t second_begin, std::vector<std::int64_t> second_shape) {
    return on_ranks(2, [&](comm::Communicator& comm) {
      Writer writer(scratch.path(), comm);
      Part part{"weights/w", {10}, 0, std::vector<float>(5)};
      if (comm.rank() == 1) part = {"weights/w", second_shape, second_begin, std::vector<float>(5)};
      writer.start(1, {part}, {});
      writer.finish({0, 0});
    });
  };
  EXPECT_THAT(attempt(4, {10}), Each(HasSubstr("weights/w")));
  EXPECT_THAT(attempt(6, {10}), Each(HasSubstr("weights/w")));
  EXPECT_THAT(attempt(5, {2, 5}), Each(HasSubstr("shape")));
  EXPECT_THAT(names_in(scratch.path()), IsEmpty());
  EXPECT_THAT(attempt(5, {10}), Each(IsEmpty()));
  EXPECT_THAT(names_in(scratch.path()), ElementsAre("step_0000001"));
}

TEST(RoundTrip, StepNames) {
  EXPECT_EQ(step_name(1200), "step_0001200");
  EXPECT_EQ(step_name(123456789), "step_123456789");
  EXPECT_EQ(step_of("step_0001200"), 1200);
  EXPECT_EQ(step_of("step_123456789"), 123456789);
  for (const char* name :
       {"step_", "step_12", "step_0001200.tmp", ".step_0001200.x.tmp", "step_-000001", "final"}) {
    EXPECT_EQ(step_of(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace microdit::checkpoint
