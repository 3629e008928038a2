// SPDX-License-Identifier: Apache-2.0
#include "config/secrets.hpp"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
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

// Throws Error, with `where` in front of the message. `owner`: whose the file must be, and that
// nobody else but root can read it.
Digest read_secret(const std::string& file, const std::string& where,
                   const std::optional<Account>& owner) {
  const std::string expected =
      where + ": expected a readable file of 64 hexadecimal digits, found ";
  char content[256];
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t length = descriptor < 0 ? -1 : ::read(descriptor, content, sizeof(content));
  const int error = errno;
  struct stat status {};
  const bool known = descriptor >= 0 && ::fstat(descriptor, &status) == 0;
  if (descriptor >= 0) ::close(descriptor);
  if (length < 0) throw Error(expected + file + ": " + std::strerror(error));
  const auto secret = parse_hex({content, static_cast<std::size_t>(length)});
  explicit_bzero(content, sizeof(content));
  if (!secret) throw Error(expected + file + " with other content");
  if (owner && (!known || status.st_uid != owner->id || (status.st_mode & 077) != 0)) {
    char found[64];
    std::snprintf(found, sizeof found, "owner %u and mode %04o", status.st_uid,
                  status.st_mode & 07777u);
    throw Error(where + ": expected a file that belongs to " + owner->name +
                " and that no other account can read, found " + file + " with " + found +
                ": chown " + owner->name + " and chmod 400 it");
  }
  return *secret;
}

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

Digest management_secret(const Config& config) {
  return read_secret(config.management_secret_file, config.management_where + ".secret_file", {});
}

Digest attach_hash(const Server& server) {
  if (server.attach_secret_sha256) return *server.attach_secret_sha256;
  return sha256(read_secret(*server.attach_secret_file, server.where + ".attach_secret_file",
                            server.account));
}

}  // namespace vmsrs::config
