// Certificates in files, for the command lines of programs.

#pragma once

#include <string>

#include "support/certificates.h"
#include "support/temp_dir.h"

namespace waterspout::test {

/// What a server needs and what its clients trust, as long as it lives.
struct CertificateFiles {
  explicit CertificateFiles(
      const Identity& server = Authority::shared().issue())
      : ca(dir.write("ca.pem", Authority::shared().certificate())),
        certificate(dir.write("server.pem", server.certificate)),
        key(dir.write("server.key", server.key)) {}

  TempDir dir;
  std::string ca;  ///< the authority that the tests trust
  std::string certificate;
  std::string key;
};

}  // namespace waterspout::test
