// The parsers of foreign bytes that are ours, each as a function of bytes: it returns, or something is wrong.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace microdit::fuzz {

using Target = void (*)(std::string_view bytes);
/// By name: safetensors, pickle, torch, manifest, index, tar, zip, json, wordpiece, sentencepiece, http, yaml, gif, bmp, captions,
/// json_rows, csv_rows, table.
const std::map<std::string, Target>& targets();

}  // namespace microdit::fuzz
