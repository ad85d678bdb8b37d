// Roles from certificates, over real TLS on a real socket, with certificates that openssl made.
#include <fstream>

#include "tests/wire/wire_env.h"

namespace canopy::wire {
namespace {

// A folder with two authorities and certificates of both.
class Authority {
 public:
  Authority() {
    char name[] = "/tmp/canopy-wire-tls-XXXXXX";
    CANOPY_CHECK(mkdtemp(name) != nullptr);
    folder_ = name;
    for (std::string_view ca : {"ca", "other"})
      run(fmt::format(
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={0} "
          "-keyout {0}.key -out {0}.pem",
          ca));
    issue("server", "ca", "DNS:backend.example,URI:canopy://oak/role/backend/b1");
    issue("frontend", "ca", "URI:canopy://oak/role/frontend/mx1");
    issue("admin", "ca", "URI:canopy://oak/role/admin/ops");
    issue("elm", "ca", "URI:canopy://elm/role/admin/ops");
    issue("plain", "ca", "DNS:somebody.example");
    issue("stranger", "other", "URI:canopy://oak/role/admin/ops");
  }
  ~Authority() { CANOPY_CHECK(std::system(("rm -rf " + folder_).c_str()) == 0); }

  std::shared_ptr<TlsContext> context(TlsOptions::Side side, std::string_view name,
                                      std::string_view ca = "ca") const {
    TlsOptions options;
    options.side = side;
    options.verify = TlsOptions::Verify::kRequired;
    if (!name.empty()) options.certificates.push_back({path(name, "pem"), path(name, "key")});
    options.ca_file = path(ca, "pem");
    auto made = TlsContext::create(options);
    CANOPY_CHECK(made.has_value());
    return *made;
  }

 private:
  std::string path(std::string_view name, std::string_view kind) const {
    return fmt::format("{}/{}.{}", folder_, name, kind);
  }
  void run(const std::string& command) {
    CANOPY_CHECK(std::system(fmt::format("cd {} && {} >>log 2>&1", folder_, command).c_str()) == 0);
  }
  void issue(std::string_view name, std::string_view ca, std::string_view names) {
    std::ofstream(path(name, "ext")) << "subjectAltName=" << names << "\n";
    run(fmt::format(
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={0} -keyout {0}.key "
        "-out {0}.csr && openssl x509 -req -in {0}.csr -CA {1}.pem -CAkey {1}.key -CAcreateserial -days 30 "
        "-extfile {0}.ext -out {0}.pem",
        name, ca));
  }

  std::string folder_;
};

class WireTls : public testing::Test {
 protected:
  static void SetUpTestSuite() { authority = new Authority; }
  static void TearDownTestSuite() { delete std::exchange(authority, nullptr); }
  static Authority* authority;
};
Authority* WireTls::authority = nullptr;

Task<void> with_server(UringLoop& loop, const Authority& authority,
                       Task<void> (*scenario)(UringLoop&, const Authority&, ServerParts&),
                       std::string_view certificate = "server") {
  ServerParts parts(loop, Address{Address::Kind::kTcp, "127.0.0.1", 0});
  RpcServerOptions options;
  options.cluster = "oak";
  parts.start(options, authority.context(TlsOptions::Side::kServer, certificate));
  co_await scenario(loop, authority, parts);
  co_await parts.stop();
}

ClientOptions options_for(const ServerParts& parts, const Authority& authority, std::string_view name,
                          std::string_view ca = "ca") {
  ClientOptions options;
  options.addresses = {parts.address};
  options.tls = authority.context(TlsOptions::Side::kClient, name, ca);
  options.server_name = "backend.example";
  return options;
}

Task<void> good_roles(UringLoop& loop, const Authority& authority, ServerParts& parts) {
  Client frontend(loop, options_for(parts, authority, "frontend"));
  EXPECT_TRUE(co_await frontend.connect());
  EXPECT_EQ(frontend.hello().role(), "frontend");
  v1::FetchManyRequest many;
  many.set_max_bytes(3'000'000);
  auto response = co_await MailboxesStub(frontend).fetch_many(many);
  EXPECT_TRUE(response && response->messages(0).content() == std::string(3'000'000, 'm'));
  auto refused = co_await DirectoryStub(frontend).get_domain({});
  EXPECT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kPermissionDenied);
  EXPECT_NE(refused.error().message().find("canopy://oak/role/frontend/mx1 has role frontend"),
            std::string::npos)
      << refused.error().message();
  Client admin(loop, options_for(parts, authority, "admin"));
  auto missing = co_await DirectoryStub(admin).get_domain({});
  EXPECT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);  // it was let through
  co_await frontend.close();
  co_await admin.close();
}
TEST_F(WireTls, GivesTheRoleOfTheCertificate) {
  auto loop = *UringLoop::create();
  loop->run_until_done(with_server(*loop, *authority, good_roles));
}

Task<void> no_role(UringLoop& loop, const Authority& authority, ServerParts& parts) {
  Client elm(loop, options_for(parts, authority, "elm"));
  auto other_cluster = co_await elm.connect();
  EXPECT_FALSE(other_cluster);
  EXPECT_EQ(other_cluster.error().code(), Code::kPermissionDenied);
  EXPECT_NE(other_cluster.error().message().find("for cluster elm, this is oak"), std::string::npos)
      << other_cluster.error().message();
  Client plain(loop, options_for(parts, authority, "plain"));
  auto no_name = co_await plain.connect();
  EXPECT_FALSE(no_name);
  EXPECT_EQ(no_name.error().code(), Code::kPermissionDenied);
  co_await elm.close();
  co_await plain.close();
}
TEST_F(WireTls, GivesNoRoleToACertificateOfAnotherClusterOrWithoutAName) {
  auto loop = *UringLoop::create();
  loop->run_until_done(with_server(*loop, *authority, no_role));
}

Task<void> not_trusted(UringLoop& loop, const Authority& authority, ServerParts& parts) {
  const CallOptions once = {.deadline = loop.now() + 5 * kSecond, .retry = false};
  Client stranger(loop, options_for(parts, authority, "stranger"));
  EXPECT_FALSE(co_await SessionStub(stranger).ping({}, once));
  Client bare(loop, options_for(parts, authority, ""));
  EXPECT_FALSE(co_await SessionStub(bare).ping({}, once));
  Client doubting(loop, options_for(parts, authority, "frontend", "other"));
  EXPECT_FALSE(co_await SessionStub(doubting).ping({}, once));
  ClientOptions other_name = options_for(parts, authority, "frontend");
  other_name.server_name = "elsewhere.example";
  Client misled(loop, other_name);
  EXPECT_FALSE(co_await SessionStub(misled).ping({}, once));
  EXPECT_EQ(parts.server->stats().requests, 0u);
  Client good(loop, options_for(parts, authority, "frontend"));
  EXPECT_TRUE(co_await SessionStub(good).ping({}, once));
  for (Client* client : {&stranger, &bare, &doubting, &misled, &good}) co_await client->close();
}
TEST_F(WireTls, ServesNobodyWithoutACertificateOfItsAuthority) {
  auto loop = *UringLoop::create();
  loop->run_until_done(with_server(*loop, *authority, not_trusted));
}

Task<void> not_a_backend(UringLoop& loop, const Authority& authority, ServerParts& parts) {
  ClientOptions options = options_for(parts, authority, "admin");
  options.server_name.clear();
  Client admin(loop, options);
  auto refused = co_await SessionStub(admin).ping({}, {.deadline = loop.now() + 5 * kSecond, .retry = false});
  EXPECT_FALSE(refused);
  EXPECT_NE(refused.error().to_string().find("no URI name canopy://CLUSTER/role/backend/NAME"),
            std::string::npos)
      << refused.error().to_string();
  EXPECT_EQ(parts.server->stats().requests, 0u);
  co_await admin.close();
}
TEST_F(WireTls, TheClientTellsNothingToAServerWithAnotherRolesCertificate) {
  auto loop = *UringLoop::create();
  loop->run_until_done(with_server(*loop, *authority, not_a_backend, "frontend"));
  loop->run_until_done(with_server(*loop, *authority, not_a_backend, "plain"));
}

Task<void> silent_peer(UringLoop& loop, const Authority& authority, ServerParts& parts) {
  auto silent = co_await loop.connect(parts.address, kNever);
  EXPECT_TRUE(silent);
  Client good(loop, options_for(parts, authority, "frontend"));
  EXPECT_TRUE(co_await SessionStub(good).ping({}));
  co_await good.close();
  const Nanos begin = loop.now();
  co_await parts.stop();
  EXPECT_LT(loop.now() - begin, RpcServer::kHandshakeTimeout / 2);
}
TEST_F(WireTls, StopsWithoutWaitingForAPeerThatNeverShakesHands) {
  auto loop = *UringLoop::create();
  loop->run_until_done(with_server(*loop, *authority, silent_peer));
}

}  // namespace
}  // namespace canopy::wire
