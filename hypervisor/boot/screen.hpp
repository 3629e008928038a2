// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmsrs::boot {

// What the boot loader left on the screen: text of the VGA kind, or pixels.
struct Screen {
  enum class Kind : std::uint8_t { kNone, kText, kPixels };
  static constexpr std::uint8_t kTextType = 2;  // as boot loaders call it

  Kind kind = Kind::kText;
  std::uint64_t address = 0xb8000;
  std::uint32_t pitch = 160, width = 80, height = 25;  // bytes a line; pixels or characters
  std::uint8_t bits = 16;                              // of a pixel
  std::uint8_t colours[6] = {};                        // bits and position of red, green, blue
};

// Where lines go from now on; the first one clears it. Pixels beyond what is mapped are left alone.
void use_screen(const Screen& screen, std::uint64_t mapped_end);
// One line below the last one, broken where the screen ends.
void show_line(const char* text, std::size_t length);

}  // namespace vmsrs::boot
