// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

std::vector<std::string> option_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// A line of the shells' table for each verb: its path, and the words that may follow.
void add_lines(const CLI::App& verb, const std::string& path,
               const std::vector<std::string>& inherited, std::string& lines) {
  std::vector<std::string> options = option_names(verb);
  for (const std::string& name : inherited)
    if (std::find(options.begin(), options.end(), name) == options.end()) options.push_back(name);
  std::vector<std::string> words;
  for (const CLI::App* below : verb.get_subcommands({})) words.push_back(below->get_name());
  words.insert(words.end(), options.begin(), options.end());
  lines += "    '" + path + "') words='" + joined(words, " ") + "' ;;\n";
  for (const CLI::App* below : verb.get_subcommands({}))
    add_lines(*below, path.empty() ? below->get_name() : path + " " + below->get_name(), options,
              lines);
}

// Both shells: the words of the command line that are verbs name the line of the table.
std::string table_function(const CLI::App& app) {
  std::string lines;
  add_lines(app, "", {}, lines);
  return "_vmsrsctl_words() {\n"
         "  local path='' next word words=''\n"
         "  for word in \"$@\"; do\n"
         "    next=\"${path:+$path }$word\"\n"
         "    case \" $_vmsrsctl_paths \" in *\"|$next|\"*) path=$next ;; esac\n"
         "  done\n"
         "  case \"$path\" in\n" +
         lines +
         "  esac\n"
         "  printf '%s\\n' \"$words\"\n"
         "}\n";
}

void add_paths(const CLI::App& verb, const std::string& path, std::string& paths) {
  for (const CLI::App* below : verb.get_subcommands({})) {
    const std::string name = path.empty() ? below->get_name() : path + " " + below->get_name();
    paths += "|" + name + "|";
    add_paths(*below, name, paths);
  }
}

std::string script(const CLI::App& app, bool zsh) {
  std::string paths;
  add_paths(app, "", paths);
  std::string text = zsh ? "#compdef vmsrsctl\n" : "";
  text += "# Made by: vmsrsctl completion " + std::string(zsh ? "zsh" : "bash") + "\n";
  text += "_vmsrsctl_paths='" + paths + "'\n" + table_function(app);
  if (zsh) {
    return text +
           "_vmsrsctl() {\n"
           "  local before=\"${words[CURRENT-1]}\"\n"
           "  case \"$before\" in\n"
           "    -o|--output) compadd table wide json yaml; return ;;\n"
           "    --socket|--cert|--key|--ca|--fleet) _files; return ;;\n"
           "  esac\n"
           "  compadd -- ${(s: :)\"$(_vmsrsctl_words \"${(@)words[2,CURRENT-1]}\")\"}\n"
           "}\n"
           "compdef _vmsrsctl vmsrsctl\n";
  }
  return text +
         "_vmsrsctl() {\n"
         "  local current=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
         "  case \"$before\" in\n"
         "    -o|--output) mapfile -t COMPREPLY < <(compgen -W 'table wide json yaml' -- "
         "\"$current\"); return ;;\n"
         "    --socket|--cert|--key|--ca|--fleet) mapfile -t COMPREPLY < <(compgen -f -- "
         "\"$current\"); return ;;\n"
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W "
         "\"$(_vmsrsctl_words \"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\" -- \"$current\")\n"
         "}\n"
         "complete -F _vmsrsctl vmsrsctl\n";
}

// roff takes a backslash for a command, a '-' for a hyphen, and a point or an apostrophe at a
// line's beginning for a request.
std::string roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\')
      escaped += "\\e";
    else if (c == '-')
      escaped += "\\-";
    else
      escaped += c;
  }
  return escaped.starts_with('.') || escaped.starts_with('\'') ? "\\&" + escaped : escaped;
}

void add_options(const CLI::App& verb, std::string& page) {
  for (const CLI::Option* option : verb.get_options()) {
    if (option->get_lnames() == std::vector<std::string>{"help"}) continue;
    const bool positional = option->get_positional();
    std::string value;
    if (!positional && option->get_expected_max() > 0) value = option->get_type_name();
    page += ".TP\n.B " + roff(option->get_name(positional, true));
    if (!value.empty()) page += " \\fI" + roff(value) + "\\fR";
    page += "\n" + roff(option->get_description()) + ".\n";
  }
}

void add_verbs(const CLI::App& verb, const std::string& path, std::string& page) {
  for (const CLI::App* below : verb.get_subcommands({})) {
    const std::string name = path + " " + below->get_name();
    page += ".SS \"" + roff(name) + "\"\n" + roff(below->get_description()) + ".\n";
    add_options(*below, page);
    add_verbs(*below, name, page);
  }
}

std::string manual_page(const CLI::App& app) {
  std::string page =
      ".\\\" Made of the command tree by: vmsrsctl completion man\n"
      ".TH VMSRSCTL 1 \"\" \"VMSRS " VMSRS_PROJECT_VERSION
      "\" \"VMSRS\"\n"
      ".SH NAME\nvmsrsctl \\- look at VMSRS on this host, and act\n"
      ".SH SYNOPSIS\n.B vmsrsctl\n[\\fIoptions\\fR] \\fInoun\\fR [\\fIverb\\fR] ...\n"
      ".SH OPTIONS\nThey may stand anywhere on the line.\n";
  add_options(app, page);
  page += ".SH VERBS\n";
  add_verbs(app, "vmsrsctl", page);
  page +=
      ".SH EXIT STATUS\n" + roff(app.get_footer()) +
      "\n.SH ENVIRONMENT\n.TP\n.B VMSRS_SOCKET\nThe socket, where \\-\\-socket does not name it.\n"
      ".TP\n.B VMSRS_HOST, VMSRS_CERT, VMSRS_KEY, VMSRS_CA, VMSRS_FLEET, VMSRS_PROMETHEUS\n"
      "What \\-\\-host, \\-\\-cert, \\-\\-key, \\-\\-ca, \\-\\-fleet and \\-\\-prometheus "
      "do not name.\n"
      ".TP\n.B NO_COLOR\nNot empty: no colours, which are used on a terminal only.\n"
      ".SH SEE ALSO\n.BR vmsrs (7)\n";
  return page;
}

}  // namespace

void add_completion(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand(
      "completion", "Print a script that completes command lines, or the manual page");
  noun->require_subcommand(1);
  const auto add = [&](const char* name, const char* what, auto made) {
    noun->add_subcommand(name, what)->callback([&app, &context, made] {
      context.across = Across::kItself;
      context.work = [&app, made] {
        std::fputs(made(app).c_str(), stdout);
        return ops::kExitOk;
      };
    });
  };
  add("bash", "For bash: source <(vmsrsctl completion bash)",
      [](const CLI::App& tree) { return script(tree, false); });
  add("zsh", "For zsh: source <(vmsrsctl completion zsh)",
      [](const CLI::App& tree) { return script(tree, true); });
  add("man", "The manual page, of section 1", manual_page);
}

}  // namespace vmsrs::cli
