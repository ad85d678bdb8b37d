// Passwords, SCRAM, the memory of verified ones, and tickets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/account/credential_cache.h"
#include "daemon/account/scram.h"
#include "daemon/account/tickets.h"
#include "daemon/base/base64.h"

namespace canopy {
namespace {

class CredentialsTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(start_passwords()); }
};

std::string xored(std::string a, const std::string& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<char>(a[i] ^ b[i]);
  return a;
}

// RFC 7677 section 3: user "user", password "pencil".
constexpr char kFirst[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr char kServerNonce[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr char kFinal[] =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+"
    "Ute9ytag9zjfMHgsqmmiz7AndVQ=";

ScramKeys rfc_keys() {
  // SaltedPassword of "pencil" with the RFC's salt and 4096 iterations, by RFC 5802's Hi() written out.
  std::string salt = *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==");
  std::string u = hmac_sha256("pencil", salt + std::string("\0\0\0\1", 4));
  std::string salted = u;
  for (int i = 1; i < 4096; ++i) salted = xored(salted, u = hmac_sha256("pencil", u));
  return {4096, salt, sha256(hmac_sha256(salted, "Client Key")), hmac_sha256(salted, "Server Key")};
}

TEST_F(CredentialsTest, ScramAnswersTheExampleOfItsRfc) {
  auto first = ScramFirst::parse(kFirst);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->user, "user");
  ScramServer server(*first, rfc_keys(), kServerNonce);
  EXPECT_EQ(server.challenge(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  EXPECT_EQ(server.finish(kFinal), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

TEST_F(CredentialsTest, ScramRefusesEveryAlteredProofNonceAndBinding) {
  ScramServer server(*ScramFirst::parse(kFirst), rfc_keys(), kServerNonce);
  std::string good = kFinal;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string altered = good;
    altered[at] = altered[at] == 'A' ? 'B' : 'A';
    auto answer = server.finish(altered);
    ASSERT_FALSE(answer) << at;
    EXPECT_EQ(answer.error().code(), Code::kUnauthenticated);
  }
  for (size_t length = 0; length < good.size(); ++length) EXPECT_FALSE(server.finish(good.substr(0, length)));
}

TEST_F(CredentialsTest, ScramFirstMessagesAreReadByTheRule) {
  EXPECT_EQ(ScramFirst::parse("y,a=boss,n=a=2Cb=3Dc,r=x")->user, "a,b=c");
  EXPECT_EQ(ScramFirst::parse("y,a=boss,n=u,r=x")->authorization, "boss");
  for (const char* bad : {"", "n", "n,", "n,,", "n,,n=u", "n,,n=u,r=", "p=tls-unique,,n=u,r=x",
                          "n,,n=a=2Xb,r=x", "n,x=boss,n=u,r=x", "n,,r=x,n=u"}) {
    EXPECT_FALSE(ScramFirst::parse(bad)) << bad;
  }
  EXPECT_FALSE(ScramFirst::parse("n,,n=u,r=" + std::string(kScramMessageBytesMax, 'x')));
}

TEST_F(CredentialsTest, NamesThatDoNotExistHaveKeysThatStayTheSame) {
  EXPECT_EQ(invented_scram_keys("a", "secret").salt, invented_scram_keys("a", "secret").salt);
  EXPECT_NE(invented_scram_keys("a", "secret").salt, invented_scram_keys("b", "secret").salt);
  EXPECT_NE(invented_scram_keys("a", "secret").salt, invented_scram_keys("a", "other").salt);
  EXPECT_EQ(invented_scram_keys("a", "secret").iterations, kScramIterations);
}

TEST_F(CredentialsTest, APasswordIsKeptAsAnArgon2idHashAndScramKeysAndNeverItself) {
  auto record = make_password("pâss wörd");
  ASSERT_TRUE(record);
  EXPECT_THAT(record->argon2, testing::StartsWith("$argon2id$"));
  EXPECT_TRUE(verify_password(*record, "pâss wörd"));
  EXPECT_FALSE(verify_password(*record, "pass word"));
  EXPECT_FALSE(verify_password(*record, std::string(kPasswordBytesMax + 1, 'x')));
  auto read = PasswordRecord::from_dict(record->to_dict());
  ASSERT_TRUE(read);
  EXPECT_TRUE(verify_password(*read, "pâss wörd"));
  EXPECT_EQ(read->scram.stored_key, record->scram.stored_key);
  EXPECT_NE(make_password("pâss wörd")->argon2, record->argon2);  // a salt of its own
  for (const char* key : {"Argon2", "ScramSalt", "ScramStoredKey", "ScramServerKey", "ScramIterations"}) {
    dict::Dict without = record->to_dict();
    without.erase(key);
    auto refused = PasswordRecord::from_dict(without);
    ASSERT_FALSE(refused) << key;
    EXPECT_EQ(refused.error().code(), Code::kDamaged);
  }
  EXPECT_FALSE(make_password(""));
  EXPECT_FALSE(make_password("a\nb"));
  EXPECT_FALSE(make_password(std::string(kPasswordBytesMax + 1, 'x')));
}

TEST_F(CredentialsTest, AVerifiedPasswordIsKnownForItsTimeForThisHashOnlyAndWithinTheBound) {
  CredentialCache cache(3, 600);
  cache.remember("a", "hash1", "secret", 1000);
  EXPECT_TRUE(cache.knows("a", "hash1", "secret", 1599));
  EXPECT_FALSE(cache.knows("a", "hash1", "secret", 1600));
  EXPECT_FALSE(cache.knows("a", "hash1", "Secret", 1000));
  EXPECT_FALSE(cache.knows("a", "hash2", "secret", 1000));  // the password was changed
  EXPECT_FALSE(cache.knows("b", "hash1", "secret", 1000));
  cache.forget("a");
  EXPECT_FALSE(cache.knows("a", "hash1", "secret", 1000));
  for (const char* name : {"a", "b", "c", "d"}) cache.remember(name, "h", "p", 1000);
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_FALSE(cache.knows("a", "h", "p", 1000));
  EXPECT_TRUE(cache.knows("d", "h", "p", 1000));
}

TEST_F(CredentialsTest, ATicketIsAcceptedUnchangedUntilItsTimeAndUnderItsKeyOnly) {
  const std::string key(kTicketKeyBytes, 'k');
  Ticket ticket{"jsmith@company.com", "canopy://oak/role/frontend/f1", 5000, 7};
  std::string sealed = seal_ticket(ticket, key);
  auto opened = open_ticket(sealed, key, 4999);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->account, ticket.account);
  EXPECT_EQ(opened->peer, ticket.peer);
  EXPECT_EQ(opened->generation, 7u);
  EXPECT_FALSE(open_ticket(sealed, key, 5000));
  EXPECT_FALSE(open_ticket(sealed, std::string(kTicketKeyBytes, 'x'), 0));
  for (size_t at = 0; at < sealed.size(); ++at) {
    std::string altered = sealed;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    EXPECT_FALSE(open_ticket(altered, key, 0)) << at;
    EXPECT_FALSE(open_ticket(std::string_view(sealed).substr(0, at), key, 0)) << at;
  }
}

}  // namespace
}  // namespace canopy
