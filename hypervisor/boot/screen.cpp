// SPDX-License-Identifier: Apache-2.0
#include "boot/screen.hpp"

namespace vmsrs::boot {
namespace {

// From ' ' to '_': five rows of three pixels, an octal digit each. Small letters are shown as
// capitals.
constexpr std::uint16_t kGlyphs[64] = {
    000000, 022202, 055000, 057575, 036236, 051245, 025253, 022000, 012221, 042224, 052725,
    002720, 000024, 000700, 000002, 011244, 075557, 026227, 071747, 071717, 055711, 074717,
    074757, 071222, 075757, 075717, 002020, 002024, 012421, 007070, 042124, 071202, 075547,
    025755, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227, 011152, 055655,
    044447, 057755, 065555, 025552, 065644, 025563, 065655, 034216, 072222, 055557, 055552,
    055775, 055255, 055222, 071247, 064446, 044211, 031113, 025000, 000007};
constexpr std::uint32_t kGlyphColumns = 3, kGlyphRows = 5, kScale = 3;
constexpr std::uint32_t kCellWidth = (kGlyphColumns + 1) * kScale,
                        kCellHeight = (kGlyphRows + 3) * kScale;
constexpr std::uint16_t kWhiteOnBlack = 0x0f00;

constinit Screen screen;
constinit std::uint32_t next_row = 0;
constinit bool is_clear = false;

volatile std::uint8_t* line_of(std::uint32_t y) {
  return reinterpret_cast<volatile std::uint8_t*>(screen.address + std::uint64_t{y} * screen.pitch);
}

std::uint32_t columns() {
  return screen.kind == Screen::Kind::kText ? screen.width : screen.width / kCellWidth;
}
std::uint32_t rows() {
  return screen.kind == Screen::Kind::kText ? screen.height : screen.height / kCellHeight;
}

void draw(std::uint32_t column, std::uint32_t row, char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  const std::uint16_t glyph = c >= ' ' && c <= '_' ? kGlyphs[c - ' '] : kGlyphs['?' - ' '];
  const std::uint32_t pixel_bytes = screen.bits / 8;
  for (std::uint32_t y = 0; y < kGlyphRows * kScale; ++y) {
    const unsigned dots = (glyph >> (3 * (kGlyphRows - 1 - y / kScale))) & 7;
    volatile std::uint8_t* at =
        line_of(row * kCellHeight + y) + std::uint64_t{column} * kCellWidth * pixel_bytes;
    for (std::uint32_t x = 0; x < kGlyphColumns * kScale; ++x) {
      const bool lit = ((dots >> (kGlyphColumns - 1 - x / kScale)) & 1) != 0;
      for (std::uint32_t i = 0; i < pixel_bytes; ++i) *at++ = lit ? 0xff : 0;
    }
  }
}

void put(std::uint32_t column, std::uint32_t row, char c) {
  if (screen.kind == Screen::Kind::kPixels) {
    draw(column, row, c);
    return;
  }
  auto* const cell = reinterpret_cast<volatile std::uint16_t*>(line_of(row)) + column;
  *cell = static_cast<std::uint16_t>(kWhiteOnBlack | static_cast<std::uint8_t>(c));
}

void clear() {
  const bool text = screen.kind == Screen::Kind::kText;
  for (std::uint32_t y = 0; y < screen.height; ++y) {
    for (std::uint32_t x = 0; text && x < screen.width; ++x) put(x, y, ' ');
    if (!text) {
      __builtin_memset(const_cast<std::uint8_t*>(line_of(y)), 0, screen.width * (screen.bits / 8u));
    }
  }
  next_row = 0;
  is_clear = true;
}

}  // namespace

void use_screen(const Screen& to, std::uint64_t mapped_end) {
  screen = to;
  is_clear = false;
  const std::uint64_t bytes = std::uint64_t{screen.pitch} * screen.height;
  const bool fits = bytes <= mapped_end && screen.address <= mapped_end - bytes &&
                    std::uint64_t{screen.width} * (screen.bits / 8u) <= screen.pitch;
  if (!fits || columns() == 0 || rows() == 0) screen.kind = Screen::Kind::kNone;
}

void show_line(const char* text, std::size_t length) {
  if (screen.kind == Screen::Kind::kNone) return;
  std::uint32_t column = 0;
  for (std::size_t i = 0; i <= length; ++i) {
    if (i < length) {
      if (!is_clear || (column == 0 && next_row == rows())) clear();
      put(column++, next_row, text[i]);
    }
    if (i == length || column == columns()) {
      if (column > 0) ++next_row;
      column = 0;
    }
  }
}

}  // namespace vmsrs::boot
