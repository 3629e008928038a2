// SPDX-License-Identifier: Apache-2.0
#include "config/secrets.hpp"

#include <fcntl.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vmsrs::config {
namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

std::optional<Digest> parse_hex(std::string_view digits) {
  while (!digits.empty() && is_space(digits.front())) digits.remove_prefix(1);
  while (!digits.empty() && is_space(digits.back())) digits.remove_suffix(1);
  Digest bytes;
  if (digits.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = digit(digits[2 * i]);
    const int low = digit(digits[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return bytes;
}

std::string hex(const Digest& digest) {
  std::string digits;
  for (const std::uint8_t byte : digest)
    for (const int shift : {4, 0}) digits += "0123456789abcdef"[byte >> shift & 15];
  return digits;
}

Digest sha256(const Digest& secret) {
  Digest hash;
  SHA256(secret.data(), secret.size(), hash.data());
  return hash;
}

Digest read_secret(const std::string& file, const std::string& where) {
  const std::string expected =
      where + ": expected a readable file of 64 hexadecimal digits, found ";
  char content[256];
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t length = descriptor < 0 ? -1 : ::read(descriptor, content, sizeof(content));
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (length < 0) throw Error(expected + file + ": " + std::strerror(error));
  const auto secret = parse_hex({content, static_cast<std::size_t>(length)});
  explicit_bzero(content, sizeof(content));
  if (!secret) throw Error(expected + file + " with other content");
  return *secret;
}

Digest management_secret(const Config& config) {
  return read_secret(config.management_secret_file, config.management_where + ".secret_file");
}

Digest attach_hash(const Server& server) {
  if (server.attach_secret_sha256) return *server.attach_secret_sha256;
  return sha256(read_secret(*server.attach_secret_file, server.where + ".attach_secret_file"));
}

}  // namespace vmsrs::config
