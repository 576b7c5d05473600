#include <array>

#include <arpa/inet.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls/credentials.h"
#include "tls/memory_bio.h"

namespace waterspout {
namespace {

std::string describe_name(const X509_NAME* name) {
  const BioPtr bio = make_memory_bio();
  constexpr unsigned long kForm = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;
  X509_NAME_print_ex(bio.get(), name, 0, kForm);
  return text_in(bio.get());
}

std::string bytes_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string describe_address(const ASN1_OCTET_STRING* octets) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(octets) == 4 ? AF_INET : AF_INET6;
  const bool known = family == AF_INET || ASN1_STRING_length(octets) == 16;
  if (!known || ::inet_ntop(family, ASN1_STRING_get0_data(octets), text.data(),
                            text.size()) == nullptr) {
    return "invalid address";
  }
  return text.data();
}

void add_alternative_names(X509* certificate, SSLCertificate& described) {
  const std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(
          certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      described.dns_names.push_back(bytes_of(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      described.ip_addresses.push_back(describe_address(name->d.iPAddress));
    }
  }
}

}  // namespace

SSLCertificate describe_certificate(X509* certificate) {
  SSLCertificate described;
  described.subject = describe_name(X509_get_subject_name(certificate));
  described.issuer = describe_name(X509_get_issuer_name(certificate));
  add_alternative_names(certificate, described);
  const BioPtr pem = make_memory_bio();
  PEM_write_bio_X509(pem.get(), certificate);
  described.pem = text_in(pem.get());
  const BioPtr der = make_memory_bio();
  i2d_X509_bio(der.get(), certificate);
  described.der = text_in(der.get());
  return described;
}

}  // namespace waterspout
