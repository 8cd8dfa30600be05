// A tiny BERT folder made here: what is promised of the rows, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "core/error.h"
#include "core/hash.h"
#include "encoders/temporary_folder.h"
#include "encoders/text_encoder.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

using testing::HasSubstr;

class TinyBert : public testing::Test {
 protected:
  TinyBert() {
    write_file(folder() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\nflag\n:\nblue\n");
    core::write_json(folder() / "config.json", {{"model_type", "bert"},
                                                {"hidden_size", 8},
                                                {"num_hidden_layers", 2},
                                                {"num_attention_heads", 2},
                                                {"intermediate_size", 12},
                                                {"max_position_embeddings", 10},
                                                {"vocab_size", 8},
                                                {"type_vocab_size", 2}});
    nn::save_tensors(folder() / "model.safetensors", weights());
  }
  static nn::StateDict weights() {
    torch::manual_seed(11);
    nn::StateDict state;
    const auto add = [&](const std::string& name, at::IntArrayRef shape) {
      state[name] = torch::randn(shape) * 0.4;
    };
    const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
      add(name + ".weight", {out, in});
      add(name + ".bias", {out});
    };
    const auto norm = [&](const std::string& name) {
      add(name + ".bias", {8});
      state[name + ".weight"] = torch::ones({8}) + state[name + ".bias"].flip(0) * 0.2;
    };
    add("embeddings.word_embeddings.weight", {8, 8});
    add("embeddings.position_embeddings.weight", {10, 8});
    add("embeddings.token_type_embeddings.weight", {2, 8});
    norm("embeddings.LayerNorm");
    for (int i = 0; i < 2; ++i) {
      const std::string at = "encoder.layer." + std::to_string(i) + ".";
      for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value"})
        linear(at + name, 8, 8);
      linear(at + "attention.output.dense", 8, 8);
      norm(at + "attention.output.LayerNorm");
      linear(at + "intermediate.dense", 8, 12);
      linear(at + "output.dense", 12, 8);
      norm(at + "output.LayerNorm");
    }
    linear("pooler.dense", 8, 8);
    state["embeddings.position_ids"] = torch::arange(10).unsqueeze(0);
    return state;
  }
  const std::filesystem::path& folder() const { return place_.path(); }
  std::string refusal() const {
    return message_of<core::UserError>([&] { load_text_encoder(folder()); });
  }
  TemporaryFolder place_;
};

TEST_F(TinyBert, AConfigOfAbsurdSizeIsRefusedBeforeItIsAllocated) {
  core::Json config = core::read_json(folder() / "config.json");
  config["vocab_size"] = 1 << 20;
  config["hidden_size"] = 1 << 20;
  config["num_hidden_layers"] = 512;
  core::write_json(folder() / "config.json", config);
  const std::string said = refusal();
  EXPECT_THAT(said, HasSubstr("these weights are not of this network"));
  EXPECT_THAT(said, HasSubstr("embeddings.word_embeddings.weight is [8, 8] and must be [1048576, 1048576]"));
}

TEST_F(TinyBert, RowsHaveOneLengthAndPadsAreZero) {
  const auto text = load_text_encoder(folder())->encode({"red flag", "blue", ""}, 7);
  EXPECT_EQ(text.states_BLD.sizes(), (at::IntArrayRef{3, 7, 8}));
  EXPECT_TRUE(torch::equal(
      text.ids_BL,
      torch::tensor({{2, 4, 5, 3, 0, 0, 0}, {2, 7, 3, 0, 0, 0, 0}, {2, 3, 0, 0, 0, 0, 0}}, torch::kInt32)));
  const auto pads = text.ids_BL.eq(0).unsqueeze(2).expand({3, 7, 8});
  EXPECT_EQ(text.states_BLD.masked_select(pads).abs().max().item<float>(), 0.0F);
  EXPECT_GT(text.states_BLD.masked_select(pads.logical_not()).abs().min().item<float>(), 0.0F);
}

TEST_F(TinyBert, BatchMatesDoNotMatter) {
  const auto encoder = load_text_encoder(folder());
  const auto alone = encoder->encode({"blue"}, 10).states_BLD;
  const auto together = encoder->encode({"red flag : red flag", "blue"}, 10).states_BLD;
  EXPECT_LT((together[1] - alone[0]).abs().max().item<double>(), 1e-5);
}

TEST_F(TinyBert, OrderMattersWithinACaption) {
  const auto states = load_text_encoder(folder())->encode({"red blue", "blue red"}, 4).states_BLD;
  EXPECT_GT((states[0] - states[1]).abs().max().item<double>(), 1e-2);
}

TEST_F(TinyBert, ManyCaptionsKeepTheirOrderAndTheirBits) {
  const auto encoder = load_text_encoder(folder());
  std::vector<std::string> captions;
  for (int i = 0; i < 300; ++i)
    captions.push_back(i % 3 == 0 ? "red" : i % 3 == 1 ? "blue : flag" : "flag red");
  const auto once = encoder->encode(captions, 6), again = encoder->encode(captions, 6);
  EXPECT_TRUE(torch::equal(once.states_BLD, again.states_BLD));
  for (const int i : {1, 130, 299}) {
    const auto alone = encoder->encode({captions[static_cast<std::size_t>(i)]}, 6);
    EXPECT_TRUE(torch::equal(once.ids_BL[i], alone.ids_BL[0]));
    EXPECT_LT((once.states_BLD[i] - alone.states_BLD[0]).abs().max().item<double>(), 1e-5);
  }
}

TEST_F(TinyBert, NoCaptionsIsNoRows) {
  EXPECT_EQ(load_text_encoder(folder())->encode({}, 5).states_BLD.sizes(), (at::IntArrayRef{0, 5, 8}));
}

TEST_F(TinyBert, DescribesItself) {
  const core::Json facts = load_text_encoder(folder())->describe();
  EXPECT_EQ(facts["kind"], "bert");
  EXPECT_EQ(facts["width"], 8);
  EXPECT_EQ(facts["sha256"], core::sha256_file(folder() / "model.safetensors"));
}

TEST_F(TinyBert, RefusesLengthsWithoutPositions) {
  const auto encoder = load_text_encoder(folder());
  EXPECT_THAT(message_of<core::UserError>([&] { encoder->encode({"red"}, 11); }), HasSubstr("11"));
}

TEST_F(TinyBert, TakesFilesWithHeadsAndTheOldNormNames) {
  const auto expected = load_text_encoder(folder())->encode({"red : blue"}, 6).states_BLD;
  nn::StateDict with_heads, old_names;
  for (const auto& [name, tensor] : weights()) {
    with_heads["bert." + name] = tensor;
    std::string old = name;
    if (const auto at = name.find("LayerNorm.weight"); at != std::string::npos)
      old = name.substr(0, at) + "LayerNorm.gamma";
    if (const auto at = name.find("LayerNorm.bias"); at != std::string::npos)
      old = name.substr(0, at) + "LayerNorm.beta";
    old_names[old] = tensor;
  }
  with_heads["cls.predictions.bias"] = torch::zeros({8});
  with_heads["cls.seq_relationship.weight"] = torch::zeros({2, 8});
  with_heads["classifier.weight"] = torch::zeros({3, 8});
  for (const auto& state : {with_heads, old_names}) {
    nn::save_tensors(folder() / "model.safetensors", state);
    EXPECT_TRUE(torch::equal(load_text_encoder(folder())->encode({"red : blue"}, 6).states_BLD, expected));
  }
}

TEST_F(TinyBert, CountsTheTokensOfWholeCaptions) {
  const auto text = load_text_encoder(folder())->encode({"red", "red flag : blue red flag", ""}, 5);
  EXPECT_EQ(text.num_tokens, (std::vector<std::int64_t>{3, 8, 2}));
  EXPECT_TRUE(torch::equal(text.ids_BL[1], torch::tensor({2, 4, 5, 6, 3}, torch::kInt32)));
}

TEST_F(TinyBert, IsFoundByItsWeights) {
  const TextEncoderFacts facts = load_text_encoder(folder())->facts();
  EXPECT_EQ(find_text_encoder(facts)->facts().sha256, facts.sha256);
  TextEncoderFacts half = facts;
  half.precision = "bf16";  // of rows that were computed so: the encoder is held so again
  EXPECT_EQ(find_text_encoder(half)->facts().precision, "bf16");
  EXPECT_EQ(core::to_json(half)["precision"], "bf16");
  EXPECT_FALSE(core::to_json(facts).contains("precision"));
  TextEncoderFacts other = facts;
  other.sha256 = std::string(64, '0');
  const std::string message = message_of<core::UserError>([&] { find_text_encoder(other); });
  EXPECT_THAT(message, HasSubstr(folder().string()));
  EXPECT_THAT(message, HasSubstr(facts.sha256));
  EXPECT_THAT(message, HasSubstr("cp -r"));
  other = facts;
  other.width = 16;
  EXPECT_THAT(message_of<core::UserError>([&] { find_text_encoder(other); }), HasSubstr("width 16"));
}

TEST_F(TinyBert, IsAnotherEncoderWithAnotherConfigOrTokenizer) {
  const TextEncoderFacts facts = describe_text_encoder(folder());
  EXPECT_EQ(core::to_json(facts), load_text_encoder(folder())->describe());
  const core::Json plain = core::read_json(folder() / "config.json");
  core::Json config = {{"transformers_version", "5"},
                       {"layer_norm_eps", 1e-12}};  // unused; the default, spelt out
  config.update(plain);
  write_file(folder() / "config.json", config.dump());
  write_file(folder() / "vocab.txt", "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\nred\r\nflag\r\n:\r\nblue");
  EXPECT_EQ(core::to_json(describe_text_encoder(folder())), core::to_json(facts));

  const TextEncoderFacts older = {
      .kind = facts.kind, .folder = facts.folder, .sha256 = facts.sha256, .width = facts.width};
  const auto expect_another = [&](const std::string& said) {
    EXPECT_THAT(message_of<core::UserError>([&] { find_text_encoder(facts); }), HasSubstr(said));
    EXPECT_EQ(find_text_encoder(older)->width(), 8);  // written before the config and the tokenizer were
  };
  for (const auto& [key, value] : std::vector<std::pair<std::string, core::Json>>{
           {"layer_norm_eps", 1e-5}, {"num_attention_heads", 4}}) {
    config = plain;
    config[key] = value;
    core::write_json(folder() / "config.json", config);
    expect_another(describe_text_encoder(folder()).network);
  }
  core::write_json(folder() / "config.json", plain);
  write_file(folder() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\nblue\n:\nflag\n");
  expect_another("another tokenizer");
}

TEST_F(TinyBert, AStopIsHeardWhileItIsRead) {
  core::StopFlag stop;
  const std::string sha256 = describe_text_encoder(folder(), stop).sha256;
  stop.request();
  EXPECT_THROW(load_text_encoder(folder(), sha256, "fp32", stop), core::Stopped);
}

/// What decides the rows of the other kinds; their weights are not read for it.
TEST_F(TinyBert, OtherKindsNameTheirSettings) {
  const auto network = [&](const core::Json& config) {
    core::write_json(folder() / "config.json", config);
    return describe_text_encoder(folder()).network;
  };
  EXPECT_EQ(network({{"model_type", "clip_text_model"}}),
            network({{"model_type", "clip"}, {"text_config", {{"hidden_act", "quick_gelu"}}}}));
  EXPECT_THAT(network({{"model_type", "clip_text_model"}, {"hidden_act", "gelu"}}),
              HasSubstr("activation=gelu"));
  EXPECT_NE(network({{"model_type", "t5"}}), network({{"model_type", "t5"}, {"layer_norm_epsilon", 1e-5}}));
  EXPECT_NE(network({{"model_type", "t5"}}),
            network({{"model_type", "t5"}, {"relative_attention_max_distance", 64}}));
}

TEST_F(TinyBert, RefusesSizesThatNoNetworkHas) {
  const core::Json plain = core::read_json(folder() / "config.json");
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, core::Json>>{{"num_hidden_layers", 1 << 20},
                                                       {"hidden_size", -4},
                                                       {"vocab_size", 1 << 30},
                                                       {"layer_norm_eps", -1}}) {
    core::Json config = plain;
    config[key] = value;
    core::write_json(folder() / "config.json", config);
    EXPECT_THAT(refusal(), HasSubstr(key)) << key;
  }
}

TEST_F(TinyBert, RefusesOtherKindsAndBrokenFolders) {
  auto state = weights();
  state.erase("encoder.layer.1.output.dense.bias");
  nn::save_tensors(folder() / "model.safetensors", state);
  EXPECT_THAT(refusal(), HasSubstr("encoder.layer.1.output.dense.bias"));
  core::Json config = core::read_json(folder() / "config.json");
  config["hidden_act"] = "relu";
  core::write_json(folder() / "config.json", config);
  EXPECT_THAT(refusal(), HasSubstr("hidden_act"));
  config["model_type"] = "albert";
  core::write_json(folder() / "config.json", config);
  EXPECT_THAT(refusal(), HasSubstr("albert"));
}

}  // namespace
}  // namespace microdit::encoders
