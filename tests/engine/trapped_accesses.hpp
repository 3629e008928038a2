// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "accesses.hpp"

namespace vmsrs::test {

// Every access is a hypercall: the variant that the others are measured against.
class TrappedAccesses final : public Accesses {
 public:
  TrappedAccesses(std::uint32_t server, std::uint32_t users, std::uint32_t processes);

  Result attach(const std::string& name, const Secret& secret, std::uint32_t process,
                std::uint32_t process_id) override;
  Result profile(const Pages& memory, std::size_t bytes, unsigned granule, bool eager) override;
  Result detach(std::uint32_t process) override {
    return services_[process].call(VMSRS_CALL_DETACH);
  }

  Result begin(User user, std::uint64_t label) override;
  Result end(User user) override { return clients_[user].call(VMSRS_CALL_USER_END); }
  Result crash(User user) override;
  Result stuck(User user) override { return clients_[user].call(VMSRS_CALL_USER_STUCK); }
  Result collect(User user) override;
  Result change_thread(User user, std::uint64_t slot, std::uint64_t generation) override;
  Result service(std::uint32_t process) override;

  Result store(User user, std::uint8_t* to, const std::uint8_t* from, std::uint32_t bytes) override;
  Result load(User user, const std::uint8_t* from, std::uint8_t* to, std::uint32_t bytes,
              bool sampled) override;
  Result exposed(User user) override;
  Result store_range(User user, std::uint8_t* to, const std::uint8_t* from,
                     std::uint32_t bytes) override;
  Result fill(User user, std::uint8_t* to, std::uint8_t value, std::uint32_t bytes) override;
  Result load_range(User user, const std::uint8_t* from, std::uint32_t bytes) override;
  Result load_committed(User user, const std::uint8_t* from, std::uint8_t* to,
                        std::uint32_t bytes) override;

  void fail_at(std::uint32_t n) override;
  std::uint64_t touch_count() const override { return touch_count_; }
  std::optional<std::string> complaint() const override { return complaint_; }

 private:
  // A call that is refused has left the server's memory alone; a collection keeps what is done.
  enum class Refusal { kChangesNothing, kKeepsWhatIsDone };
  struct Range {
    const Pages* memory;
    std::size_t bytes;
    unsigned granule;
    char name[VMSRS_NAME_BYTES];
  };

  // Where the user's process has what the first one has there.
  std::uint64_t place(User user, const std::uint8_t* pointer) const;

  // Repeats a call after each touch that it asks for.
  Result retry(Client& client, Refusal refusal, std::uint64_t number, std::uint64_t rdi = 0,
               std::uint64_t rsi = 0, std::uint64_t rdx = 0, std::uint64_t r10 = 0);
  void snapshot();
  bool unchanged() const;

  std::vector<Client> clients_;
  std::vector<Client> services_;  // of each process
  std::vector<Range> regions_;
  std::vector<std::uint8_t> before_;
  std::uint64_t touch_count_ = 0;
  std::optional<std::string> complaint_;
};

}  // namespace vmsrs::test
