#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""openapi_test.py OPENAPI_JSON OPS_TEST VMSRSD REFERENCE_CONFIG: every answer of the API's tests against
its document, and configurations against the schema that vmsrsd prints."""
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import yaml

DOCUMENT, OPS_TEST, VMSRSD, REFERENCE = sys.argv[1:5]


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = json.loads(pathlib.Path(DOCUMENT).read_text())
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "answers")
            subprocess.run([OPS_TEST, "--run_test=api_over_a_socket,event_api"], check=True,
                           capture_output=True, env={**os.environ, "VMSRS_ANSWERS": str(file)})
            cls.answers = [json.loads(line) for line in file.read_text().splitlines()]

    def validator(self, schema):
        whole = {**schema, "components": self.document["components"]}
        jsonschema.Draft202012Validator.check_schema(whole)
        return jsonschema.Draft202012Validator(whole)

    def schema_of(self, operation, status):
        response = operation["responses"].get(str(status))
        self.assertIsNotNone(response, f"no status {status}: {operation['summary']}")
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].split("/")[-1]]
        return response["content"]["application/json"]["schema"]

    def test_every_answer_is_as_the_document_says(self):
        patterns = [(re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + "$"), path)
                    for path in sorted(self.document["paths"], key=lambda path: "{" in path)]
        seen = collections.Counter()
        for answer in self.answers:
            path = answer["path"].split("?")[0]
            named = next((name for pattern, name in patterns if pattern.match(path)), None)
            operation = self.document["paths"].get(named, {}).get(answer["method"].lower())
            if operation is None:
                self.assertEqual(answer["body"]["error"]["code"], "no_such_path", path)
                continue
            seen[answer["method"], named] += answer["status"] == 200
            errors = list(self.validator(self.schema_of(operation, answer["status"]))
                          .iter_errors(answer["body"]))
            self.assertFalse(errors, f"{answer['method']} {answer['path']}: {errors[:1]}")
        every = {(method.upper(), path) for path, operations in self.document["paths"].items()
                 for method, operation in operations.items()
                 if "application/json" in operation["responses"]["200"]["content"]}  # no stream
        self.assertEqual({one for one in every if not seen[one]}, set(), "never answered with 200")

    def test_a_field_too_many_or_too_few_is_found(self):
        good = next(one["body"] for one in self.answers
                    if one["path"] == "/v1/version" and one["status"] == 200)
        validator = self.validator({"$ref": "#/components/schemas/Version"})
        self.assertTrue(validator.is_valid(good))
        self.assertFalse(validator.is_valid({**good, "colour": "red"}))
        self.assertFalse(validator.is_valid({"daemon": "1"}))


class ConfigSchema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        schema = json.loads(subprocess.run([VMSRSD, "--config-schema"], check=True,
                                           capture_output=True).stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        cls.schema = jsonschema.Draft202012Validator(schema)

    def accepted_by_daemon(self, text):
        with tempfile.TemporaryDirectory() as folder:
            secret = pathlib.Path(folder, "secret")
            secret.write_text("1" * 64)
            file = pathlib.Path(folder, "vmsrs.yaml")
            file.write_text(text)
            done = subprocess.run([VMSRSD, "--check-config", "--config", file], check=False,
                                  capture_output=True, env={
                                      "VMSRS_MANAGEMENT_SECRET_FILE": str(secret)})
            return done.returncode == 0

    def test_schema_and_daemon_agree(self):
        server = "servers: [{name: shop, attach_secret_sha256: " + "a" * 64 + "%s}]\n"
        for text, good in (
                ("", True), (server % "", True), ("log: {level: warn}\n", True),
                ("log: {level: loud}\n", False), ("log: {levle: warn}\n", False),
                ("lgo: {}\n", False), ("log: warn\n", False),
                ("reap: {interval_ms: 3600000}\n", True), ("reap: {interval_ms: 3600001}\n", False),
                ("api: {limits: {threads: 2}}\n", False), ("api: {limits: {threads: 3}}\n", True),
                ("api: {limits: {body: 4 KiB}}\n", True), ("api: {limits: {body: 4kB}}\n", False),
                ("api: {socket: relative}\n", False), ("api: {read_only_socket: ''}\n", True),
                ("scrub: {rate: 0}\n", True), ("metrics: {tls: 7}\n", False),
                ("api: {tls: {clients: [{name: a}]}}\n", False),
                (server % ", users: 7", True), (server % ", users: 0", False),
                (server % ", storage_full: never", False),
                ("servers: [{name: shop}]\n", False), ("servers: 7\n", False)):
            with self.subTest(text):
                self.assertEqual(self.schema.is_valid(yaml.safe_load(text)), good)
                self.assertEqual(self.accepted_by_daemon(text), good)

    def test_reference_file(self):
        self.schema.validate(yaml.safe_load(pathlib.Path(REFERENCE).read_text()))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
