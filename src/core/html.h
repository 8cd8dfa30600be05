// Pieces of a self-contained page.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace microdit::core {

std::string escaped(const std::string& text);

/// A PNG inside the page; empty where the file is not there.
std::string html_picture(const std::filesystem::path& file, const std::string& caption);

/// The same of bytes in memory.
std::string html_picture(std::span<const std::byte> png, const std::string& caption);

/// The first row is the head.
std::string html_table(const std::vector<std::vector<std::string>>& rows);

std::string html_page(const std::string& title, const std::string& body);

}  // namespace microdit::core
