#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables of the roles' variables, made of their argument_specs.yml and defaults.

usage: role_tables.py           problems, if any: defaults, argument_specs.yml and README.md that differ
       role_tables.py --write   writes the tables into the READMEs, between their two marks
"""
import json
import pathlib
import sys

import yaml

ROLES = pathlib.Path(__file__).resolve().parents[3] / "deploy/ansible/roles"
BEGIN, END = "<!-- variables -->", "<!-- end of variables -->"


def shown(value):
    return f"`{json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value or '(empty)'}`"


def rows(prefix, options, defaults=None):
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        if "choices" in option:
            kind += ": " + ", ".join(choice or "(empty)" for choice in option["choices"])
        if option.get("required"):
            default = "required"
        elif defaults is None or is_computed(defaults[name]):
            default = option["default"] if isinstance(option.get("default"), str) and option["default"] else shown(
                option["default"]) if "default" in option else "none"
            default = f"`{default}`" if default.startswith("{{") else default
        else:
            default = shown(defaults[name])
        yield f"| `{prefix}{name}` | {kind} | {default} | {option['description']} |"
        if "options" in option:
            yield from rows(f"{prefix}{name}[].", option["options"])


def is_computed(value):
    return isinstance(value, str) and "{{" in value


def read(role):
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return specs, yaml.safe_load((role / "defaults/main.yml").read_text())


def table(role):
    specs, defaults = read(role)
    return "\n".join(["| variable | type | default | meaning |", "| --- | --- | --- | --- |",
                      *rows("", specs["main"]["options"], defaults)])


def problems(role):
    specs, defaults = read(role)
    readme = (role / "README.md").read_text()
    for point, spec in specs.items():
        if spec["options"] != specs["main"]["options"]:
            yield f"{role.name}: {point} has other variables than main"
        if not (role / f"tasks/{point}.yml").exists():
            yield f"{role.name}: no tasks/{point}.yml"
    options = specs["main"]["options"]
    for name in sorted(set(options) ^ set(defaults)):
        yield f"{role.name}: {name} is only in {'argument_specs.yml' if name in options else 'defaults/main.yml'}"
    for name in set(options) & set(defaults):
        if not name.startswith(f"{role.name}_"):
            yield f"{role.name}: {name} does not begin with the role's name"
        if not is_computed(defaults[name]) and options[name].get("default") != defaults[name]:
            yield f"{role.name}: {name} is {defaults[name]!r} in defaults, {options[name].get('default')!r} in argument_specs.yml"
    if readme.partition(BEGIN)[2].partition(END)[0].strip() != table(role):
        yield f"{role.name}: README.md does not have the table of its variables (role_tables.py --write)"


def main():
    roles = sorted(path for path in ROLES.iterdir() if path.is_dir())
    if sys.argv[1:] == ["--write"]:
        for role in roles:
            readme = role / "README.md"
            before, _, rest = readme.read_text().partition(BEGIN)
            readme.write_text(f"{before}{BEGIN}\n{table(role)}\n{END}{rest.partition(END)[2]}")
        return 0
    found = [problem for role in roles for problem in problems(role)]
    print("\n".join([*found, f"{len(roles)} roles, {len(found)} problems"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
