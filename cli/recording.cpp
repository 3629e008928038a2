// SPDX-License-Identifier: Apache-2.0
#include "recording.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ops_common/exit_codes.hpp>
#include <sstream>

namespace vmsrs::cli {
namespace {

Recording* the_current = nullptr;

Json cell_document(const Cell& cell) { return {cell.text, static_cast<int>(cell.colour)}; }

Cell cell_of(const Json& document) {
  return {document.at(0).get<std::string>(), static_cast<Colour>(document.at(1).get<int>())};
}

}  // namespace

Recording::Recording() : file_(memfd_create("stdout", MFD_CLOEXEC)) {
  if (file_ < 0 || dup2(file_, STDOUT_FILENO) < 0)
    throw Failure(ops::kExitFailed, std::string("no file in memory: ") + std::strerror(errno));
  the_current = this;
}

Recording::~Recording() {
  the_current = nullptr;
  close(file_);
}

Recording* Recording::current() { return the_current; }

void Recording::add_table(const std::vector<Column>& columns,
                          const std::vector<std::vector<Cell>>& rows) {
  take_text();
  Json block = {{"columns", Json::array()}, {"rows", Json::array()}};
  for (const Column& column : columns)
    block["columns"].push_back(Json::array({column.header, column.wide}));
  for (const auto& row : rows) {
    Json cells = Json::array();
    for (const Cell& cell : row) cells.push_back(cell_document(cell));
    block["rows"].push_back(std::move(cells));
  }
  blocks_.push_back(std::move(block));
}

void Recording::take_text() {
  std::fflush(stdout);
  std::string text(static_cast<std::size_t>(std::max<off_t>(lseek(file_, 0, SEEK_END), 0)), '\0');
  const ssize_t length = pread(file_, text.data(), text.size(), 0);
  if (ftruncate(file_, 0) != 0 || lseek(file_, 0, SEEK_SET) != 0 || length <= 0) return;
  text.resize(static_cast<std::size_t>(length));
  blocks_.push_back({{"text", text}});
}

Json Recording::take() {
  take_text();
  return {{"document", std::move(document_)}, {"blocks", std::move(blocks_)}};
}

JoinedTables::Group& JoinedTables::group(const Json& columns) {
  const std::string kind = columns.dump();
  for (Group& one : groups_)
    if (one.kind == kind) return one;
  std::vector<Column> all;
  for (const Json& column : columns)
    all.emplace_back(column.at(0).get_ref<const std::string&>().c_str(), column.at(1).get<bool>());
  if (!all.empty()) all.insert(all.begin(), "HOST");
  return groups_.emplace_back(Group{kind, all, Table(all)});
}

void JoinedTables::add(const std::string& host, const Json& blocks) {
  for (const Json& block : blocks) {
    if (block.contains("text")) {
      std::istringstream lines(block.at("text").get<std::string>());
      for (std::string line; std::getline(lines, line);)
        if (!line.empty()) group(Json::array()).table.add({host, line});
      continue;
    }
    Group& to = group(block.at("columns"));
    for (const Json& row : block.at("rows")) {
      std::vector<Cell> cells = {host};
      for (const Json& cell : row) cells.push_back(cell_of(cell));
      to.table.add(std::move(cells));
    }
  }
}

void JoinedTables::print(const TableStyle& style) const {
  TableStyle with_host = style;
  auto& columns = with_host.columns;
  const auto is_host = [](const std::string& name) { return name == "HOST" || name == "host"; };
  if (!columns.empty() && std::none_of(columns.begin(), columns.end(), is_host))
    columns.insert(columns.begin(), "HOST");
  bool first = true;
  for (const Group& one : groups_) {
    if (!first) std::printf("\n");
    first = false;
    one.table.print(with_host);
  }
}

}  // namespace vmsrs::cli
