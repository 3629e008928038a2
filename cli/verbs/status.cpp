// SPDX-License-Identifier: Apache-2.0
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

std::string check_words(const Json& check) {
  if (check.is_null()) return "never since vmsrsd was started (run: vmsrsctl check)";
  if (check.at("ok").get<bool>()) return "ok";
  return words(check.at("violated")) + " violated, " + words(check.at("unverified")) +
         " unverified, " + words(check.at("unprotected")) + " unprotected (run: vmsrsctl check)";
}

std::string fault_words(const Json& faults) {
  std::uint64_t total = 0;
  std::string kinds;
  for (const auto& [kind, count] : faults.items()) {
    const auto number = count.get<std::uint64_t>();
    if (number == 0) continue;
    total += number;
    kinds += (kinds.empty() ? "" : ", ") + kind + " " + std::to_string(number);
  }
  return std::to_string(total) + (kinds.empty() ? "" : " (" + kinds + ")");
}

std::string devices_words(const Json& devices) {
  if (devices == "confined") return "kept from hidden memory by an IOMMU";
  if (devices == "free") return "not kept from hidden memory: there is no IOMMU in use";
  return "as Linux has them";
}

std::string guest_words(const Json& status) {
  const Json& watch = status.at("guest_watch");
  std::string seen = "shutdowns, resets";
  if (watch.at("panic").get<bool>()) seen += ", panics";
  if (watch.at("hang").get<bool>()) return seen + " and hangs are recognised";
  return seen + " are recognised, hangs are not";
}

void print_status(const Json& status, const TableStyle& style) {
  if (!status.at("protection").get<bool>())
    std::printf(
        "NOTHING IS PROTECTED any more: the hypervisor has contradicted itself, and Linux goes on "
        "without it.\nBoot the machine anew; `vmsrsctl hypervisor log` tells where it was.\n\n");
  const Json& restores = status.at("restores");
  Table host;
  host.add({"Mode", mode_cell(status.at("mode"))});
  host.add({"Isolation", words(status.at("isolation"))});
  host.add({"Devices", devices_words(status.at("devices"))});
  if (!status.at("guest_start").is_null())
    host.add({"Operating system",
              "start " + words(status.at("guest_start")) + "; its " + guest_words(status)});
  host.add({"Up for", duration_words(status.at("uptime_seconds"))});
  host.add({"Users", words(status.at("active_users")) + " active, " +
                         words(status.at("suppressed_users")) + " under suppression, " +
                         words(status.at("stuck_users")) + " stuck, " +
                         words(status.at("users_collected")) + " collected, " +
                         words(status.at("users_finished")) + " finished"});
  host.add({"Faults", fault_words(status.at("faults"))});
  host.add({"Suppressed stores", words(status.at("suppressed_stores"))});
  host.add({"Restored granules", words(restores.at("demand")) + " on demand, " +
                                     words(restores.at("crash")) + " at the crash, " +
                                     words(restores.at("collection")) + " at collection, " +
                                     words(restores.at("sweep")) + " by sweeps"});
  host.add({"Recovery storage", size_words(status.at("storage_used_bytes")) + " of " +
                                    size_words(status.at("storage_bytes")) + " used"});
  host.add({"Hidden memory", size_words(status.at("hidden_bytes"))});
  host.add({"Refused", words(status.at("hidden_accesses_refused")) +
                           " accesses to hidden memory, " +
                           words(status.at("window_writes_refused")) + " window writes, " +
                           words(status.at("denied_calls")) + " calls denied, " +
                           words(status.at("refused_calls")) + " calls with bad arguments"});
  host.add({"Last check", check_words(status.at("last_check"))});
  host.print();

  if (status.at("servers").empty()) return;
  std::printf("\n");
  Table servers({"SERVER", "ATTACHED", "MODE", "ACTIVE", "SUPPRESSED", "STUCK"});
  for (const Json& server : status.at("servers")) {
    servers.add({words(server.at("name")), words(server.at("attached")),
                 mode_cell(server.at("mode")), words(server.at("active_users")),
                 count_cell(server.at("suppressed_users"), Colour::kWarning),
                 count_cell(server.at("stuck_users"), Colour::kBad)});
  }
  servers.print(style);
}

// Of one of several hosts: a row.
void print_status_row(const Json& status, const TableStyle& style) {
  const Json& restores = status.at("restores");
  std::uint64_t restored = 0;
  for (const Json& count : restores) restored += count.get<std::uint64_t>();
  const bool protects = status.at("protection").get<bool>();
  const Json& check = status.at("last_check");
  Table row({"MODE",
             {"ISOLATION", true},
             "UP FOR",
             "ACTIVE",
             "SUPPRESSED",
             "STUCK",
             {"FINISHED", true},
             "FAULTS",
             {"DROPPED STORES", true},
             "RESTORED",
             "STORAGE USED",
             {"STORAGE", true},
             "LAST CHECK"});
  row.add({protects ? mode_cell(status.at("mode")) : Cell("NOT PROTECTED", Colour::kBad),
           words(status.at("isolation")), duration_words(status.at("uptime_seconds")),
           words(status.at("active_users")),
           count_cell(status.at("suppressed_users"), Colour::kWarning),
           count_cell(status.at("stuck_users"), Colour::kBad), words(status.at("users_finished")),
           fault_words(status.at("faults")), words(status.at("suppressed_stores")),
           std::to_string(restored), size_words(status.at("storage_used_bytes")),
           size_words(status.at("storage_bytes")),
           check.is_null()              ? Cell("never")
           : check.at("ok").get<bool>() ? Cell("ok", Colour::kGood)
                                        : Cell("not ok", Colour::kBad)});
  row.print(style);
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("status", "Show the host on one screen");
  add_watch_options(*verb, context);
  verb->callback([&context] {
    context.work = [&context] {
      const Json status = context.client().get("/v1/status");
      print(context.format(), status,
            [&] { (context.several ? print_status_row : print_status)(status, context.style()); });
      return ops::kExitOk;
    };
  });
}

}  // namespace vmsrs::cli
