// Making a file over NFSv4.0, the one operation that needs state on the server: a client id, an open owner,
// an open file.
#include <cstring>

#include "daemon/store/nfs/protocol_v4.h"
#include "daemon/store/nfs/v4_types.h"

namespace canopy::nfs {

using v4::Compound;
using v4::Encoded;

namespace {

struct Opened {
  Made made;
  stateid4 state{};
  bool must_confirm = false;
};

struct GivenClientId {
  uint64_t id = 0;
  std::array<char, NFS4_VERIFIER_SIZE> confirm{};
};

Reply<Opened> opened_in(const COMPOUND4res& answer) {
  const auto found = v4::find(answer, OP_OPEN);
  if (!found) return fault(kServerFault);
  const OPEN4resok& ok = found->nfs_resop4_u.opopen.OPEN4res_u.resok4;
  return Opened{.made = {.handle = v4::handle_in(answer), .attributes = v4::attributes_in(answer)},
                .state = ok.stateid,
                .must_confirm = (ok.rflags & OPEN4_RESULT_CONFIRM) != 0};
}

// Ends the open. What fails here leaves state behind that the server drops with the client id's lease.
Task<void> close_opened(RpcConnection& on, Opened opened) {
  Compound compound;
  compound.at(*opened.made.handle);
  seqid4 sequence = 2;  // of the open owner; 1 was its OPEN
  stateid4 state = opened.state;
  if (opened.must_confirm) {
    compound.add(OP_OPEN_CONFIRM).nfs_argop4_u.opopen_confirm =
        OPEN_CONFIRM4args{.open_stateid = state, .seqid = sequence++};
    ++state.seqid;  // RFC 7530 section 9.1.4.2: what the confirmation answers
  }
  compound.add(OP_CLOSE).nfs_argop4_u.opclose = CLOSE4args{.seqid = sequence, .open_stateid = state};
  (void)co_await v4::ask<void>(on, compound, [](const COMPOUND4res&) { return Reply<void>(); });
}

}  // namespace

Task<Reply<uint64_t>> ProtocolV4::client_id(RpcConnection& on) {
  if (client_id_ != 0) co_return client_id_;
  const auto life = on.life();
  Compound ask_for;
  SETCLIENTID4args& arguments = ask_for.add(OP_SETCLIENTID).nfs_argop4_u.opsetclientid;
  std::string owner = owner_;
  arguments.client.id.id_len = static_cast<u_int>(owner.size());
  arguments.client.id.id_val = owner.data();
  std::memcpy(arguments.client.verifier, owner.data(),
              std::min(owner.size(), sizeof arguments.client.verifier));
  char netid[] = "tcp", nowhere[] = "0.0.0.0.0.0";  // nobody can call back: no delegations
  arguments.callback.cb_location = clientaddr4{.r_netid = netid, .r_addr = nowhere};
  auto given = co_await v4::ask<GivenClientId>(on, ask_for, [](const COMPOUND4res& answer) {
    const auto found = v4::find(answer, OP_SETCLIENTID);
    if (!found) return Reply<GivenClientId>(fault(kServerFault));
    const SETCLIENTID4resok& ok = found->nfs_resop4_u.opsetclientid.SETCLIENTID4res_u.resok4;
    GivenClientId out{.id = ok.clientid};
    std::memcpy(out.confirm.data(), ok.setclientid_confirm, out.confirm.size());
    return Reply<GivenClientId>(out);
  });
  if (!given) co_return fault(given.error().status);
  if (life.expired()) co_return fault(kLost);
  Compound confirm;
  SETCLIENTID_CONFIRM4args& confirmed =
      confirm.add(OP_SETCLIENTID_CONFIRM).nfs_argop4_u.opsetclientid_confirm;
  confirmed.clientid = given->id;
  std::memcpy(confirmed.setclientid_confirm, given->confirm.data(), given->confirm.size());
  auto done = co_await v4::ask<void>(on, confirm, [](const COMPOUND4res&) { return Reply<void>(); });
  if (!done) co_return fault(done.error().status);
  client_id_ = given->id;
  co_return given->id;
}

Task<Reply<Made>> ProtocolV4::create(RpcConnection& on, FileHandle directory, std::string name,
                                     SetAttributes attributes) {
  const auto life = on.life();
  auto id = co_await client_id(on);
  // Two that ask at once: the later replaces the earlier's, whose confirmation then fails (RFC
  // 7530, 16.34.5).
  if (!id && (id.error().status == NFS4ERR_STALE_CLIENTID || id.error().status == NFS4ERR_CLID_INUSE))
    co_return fault(kDelayed);
  if (!id) co_return fault(id.error().status);
  if (life.expired()) co_return fault(kLost);

  Encoded encoded(attributes);
  std::string owner = fmt::format("{}.{}", owner_, ++opened_);
  Compound compound;
  compound.at(directory);
  OPEN4args& arguments = compound.add(OP_OPEN).nfs_argop4_u.opopen;
  arguments.seqid = 1;
  arguments.share_access = OPEN4_SHARE_ACCESS_BOTH;
  arguments.share_deny = OPEN4_SHARE_DENY_NONE;
  arguments.owner.clientid = *id;
  arguments.owner.owner.owner_len = static_cast<u_int>(owner.size());
  arguments.owner.owner.owner_val = owner.data();
  arguments.openhow.opentype = OPEN4_CREATE;
  arguments.openhow.openflag4_u.how.mode = GUARDED4;
  arguments.openhow.openflag4_u.how.createhow4_u.createattrs = encoded.get();
  arguments.claim.claim = CLAIM_NULL;
  arguments.claim.open_claim4_u.file = v4::text_of(name);
  compound.plain(OP_GETFH).attributes();
  auto opened = co_await v4::ask<Opened>(on, compound, opened_in);
  if (!opened) {
    const int status = opened.error().status;
    const bool forgotten = status == NFS4ERR_STALE_CLIENTID || status == NFS4ERR_EXPIRED;
    if (forgotten && client_id_ == *id) client_id_ = 0;
    co_return fault(forgotten ? static_cast<int>(kDelayed) : status);  // nothing was made: once more
  }
  if (opened->made.handle && !life.expired()) co_await close_opened(on, *opened);
  co_return opened->made;
}

}  // namespace canopy::nfs
