// BIOs that keep what is written to them: OpenSSL's way to print into memory.

#pragma once

#include <cstddef>
#include <new>
#include <string>

#include "tls/openssl_ptr.h"

namespace waterspout {

inline BioPtr make_memory_bio() {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio) {
    throw std::bad_alloc();
  }
  return bio;
}

inline std::string text_in(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace waterspout
