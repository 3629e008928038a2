// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/hosted.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "hosted/hosted_memory.hpp"
#include "hosted/hosted_platform.hpp"
#include "hosted/lanes.hpp"
#include "hosted/shared_memory.hpp"
#include "monitor/monitor.hpp"

namespace vmsrs::hosted {

// Answers the calls of one client's lanes through the monitor. The call area is the client's to
// write: each field of a request is read once, into this thread's own memory, and what was read is
// what is checked and used. One thread.
class CallServer {
 public:
  CallServer(HostedPlatform& platform, RegionPlaces& places, std::uint64_t address_space,
             std::uint32_t process_id)
      : platform_(platform),
        places_(places),
        address_space_(address_space),
        process_id_(process_id) {}

  // False: no memory.
  [[nodiscard]] bool open(std::uint32_t lane_count);
  // Where the client has mapped the area.
  void set_client_base(std::uint64_t address) { client_base_ = address; }
  std::uint64_t client_base() const { return client_base_; }
  const SharedMemory& area() const { return area_; }
  vmsrs_area_head& head() { return *reinterpret_cast<vmsrs_area_head*>(area_.data()); }

  Lanes& lanes() { return lanes_; }
  HostedMemory& memory() { return memory_; }
  bool attached() const { return attached_; }
  std::uint32_t server() const { return server_; }

  // The platform's counters hear of the calls at the latest when this is called.
  void count_calls();

  // Answers what is asked now; how many that were.
  unsigned serve_all();

  // Does a piece of what the server's service thread is asked for, as the server's memory is at
  // hand here: its processors are spared the sweeps. False: there is nothing, or nothing that can
  // be done from here.
  bool serve_server();

  // Tells who asks on a lane that is nobody's that it is not his.
  void refuse_strays();

  // The thread has ended and cannot come to its end point: its open user crashes here, and is
  // collected. Nothing, if it has none.
  void bury(std::uint64_t thread);

 private:
  struct Request;
  // The last call of a lane, for the client that has lost its answer.
  struct Answered {
    std::uint64_t thread;  // 0: none yet
    std::uint16_t next_turn;
    monitor::CallRegisters asked, answer;
  };
  void serve(std::uint32_t lane);
  void serve_in_turn(Answered& last, std::uint16_t turn, Request& request);
  void answer(Request& request);
  void note_places(const Request& asked, std::uint64_t region);
  void call(Request& request);

  HostedPlatform& platform_;
  RegionPlaces& places_;
  const std::uint64_t address_space_;
  const std::uint32_t process_id_;
  SharedMemory area_;
  vmsrs_lane* lane_array_ = nullptr;
  std::byte* payloads_ = nullptr;
  std::uint64_t client_base_ = 0;
  std::uint64_t payloads_offset_ = 0;
  Lanes lanes_;
  std::vector<Answered> answered_;  // by lane
  HostedMemory memory_;
  bool attached_ = false;
  std::uint32_t server_ = 0;
  std::uint64_t service_done_ = 0;  // the last request that was seen to, or left to the server
  std::uint64_t uncounted_ = 0, timed_cycles_ = 0;
};

}  // namespace vmsrs::hosted
