// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vmsrs::api {

// openapi.json of this folder, put in by the build.
extern const std::string kOpenApiDocument;

}  // namespace vmsrs::api
