// Completion scripts of canopy-mount, made from what its command line knows. Pure.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace canopy::mount {

std::string completion(const CLI::App& app, const std::string& shell);  // bash or zsh

}  // namespace canopy::mount
