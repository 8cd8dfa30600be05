// Facts that only one side has: the later ones count nothing, all others differ.
#include "core/later_facts.h"

#include <gtest/gtest.h>

namespace microdit::core {
namespace {

TEST(LaterFacts, OnlyThoseThatBothHaveAreCompared) {
  const Json older = {{"text_encoder", {{"kind", "bert"}, {"sha256", "a"}}}};
  Json newer = older;
  newer["text_encoder"]["network"] = "heads=2";
  newer["text_encoder"]["tokenizer_sha256"] = "b";
  Json a = older, b = newer;
  forget_unshared(a, b);
  EXPECT_EQ(a, b);
  a = newer;
  b = older;
  forget_unshared(a, b);
  EXPECT_EQ(a, b);
}

TEST(LaterFacts, WhatDiffersOrIsAnotherMembersStays) {
  Json a = {{"text_encoder", {{"network", "heads=2"}, {"pads", "zero"}}}}, b = a;
  b["text_encoder"]["network"] = "heads=4";
  forget_unshared(a, b);
  EXPECT_NE(a, b);
  b = a;
  b["text_encoder"].erase("pads");
  forget_unshared(a, b);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace microdit::core
