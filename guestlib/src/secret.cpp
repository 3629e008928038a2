// SPDX-License-Identifier: Apache-2.0
#include "secret.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>

#include "error.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::size_t kDigits = 2 * VMSRS_SECRET_BYTES;

int digit_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

int check_mode(const char* path, const struct stat& status) {
  if (!S_ISREG(status.st_mode))
    return fail(VMSRS_ERROR_CONFIGURATION, "secret file %s: not a regular file", path);
  if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0)
    return fail(VMSRS_ERROR_CONFIGURATION,
                "secret file %s: mode %04o lets other accounts at it: chmod 0400 %s", path,
                static_cast<unsigned>(status.st_mode & 07777u), path);
  if ((status.st_mode & S_IRGRP) != 0)
    std::fprintf(stderr, "vmsrs: warning: secret file %s can be read by its group (mode %04o)\n",
                 path, static_cast<unsigned>(status.st_mode & 07777u));
  return 0;
}

int parse(const char* path, const char* text, std::size_t length,
          std::uint8_t (&secret)[VMSRS_SECRET_BYTES]) {
  while (length > 0 && is_space(text[length - 1])) --length;
  if (length != kDigits)
    return fail(VMSRS_ERROR_CONFIGURATION,
                "secret file %s: %zu%s characters, expected %zu hexadecimal digits", path, length,
                length > kDigits ? " or more" : "", kDigits);
  for (std::size_t i = 0; i < kDigits; i += 2) {
    const int high = digit_value(text[i]);
    const int low = digit_value(text[i + 1]);
    if (high < 0 || low < 0)
      return fail(VMSRS_ERROR_CONFIGURATION,
                  "secret file %s: character %zu is not a hexadecimal digit", path,
                  high < 0 ? i + 1 : i + 2);
    secret[i / 2] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return 0;
}

}  // namespace

int read_secret(const char* path, std::uint8_t (&secret)[VMSRS_SECRET_BYTES]) {
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0)
    return fail(VMSRS_ERROR_CONFIGURATION, "secret file %s: %s", path, strerrordesc_np(errno));
  struct stat status {};
  char text[kDigits + 64];
  int result = fstat(file, &status) == 0 ? check_mode(path, status)
                                         : fail(VMSRS_ERROR_CONFIGURATION, "secret file %s: %s",
                                                path, strerrordesc_np(errno));
  if (result == 0) {
    std::size_t length = 0;
    ssize_t count = 0;
    while (length < sizeof text && (count = read(file, text + length, sizeof text - length)) > 0)
      length += static_cast<std::size_t>(count);
    result = count < 0 ? fail(VMSRS_ERROR_CONFIGURATION, "secret file %s: %s", path,
                              strerrordesc_np(errno))
                       : parse(path, text, length, secret);
  }
  explicit_bzero(text, sizeof text);
  close(file);
  return result;
}

}  // namespace vmsrs::guest
