// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE hosted
#define BOOST_TEST_DYN_LINK
#include <boost/test/unit_test.hpp>
