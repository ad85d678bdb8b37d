// Every method of canopy.proto, and whether the client may send it again after the connection was lost while
// it was under way. X(function, Method, Request, Response, repeat). The one place for it.
#pragma once

#include <string_view>

namespace canopy::wire {

enum class Repeat : uint8_t {
  kAlways,         // reading, or the same state however often it is done
  kWithRequestId,  // when the caller filled request_id: the server answers the first result again
  kNever,          // bound to the connection
};

struct MethodInfo {
  std::string_view service;  // "canopy.v1.Mailboxes"
  std::string_view name;     // "Deliver"
  Repeat repeat;
};

// clang-format off
#define CANOPY_SESSION_METHODS(X)                                                                   \
  X(hello,           Hello,          HelloRequest,          HelloResponse,          kAlways)        \
  X(ping,            Ping,           PingRequest,           PingResponse,           kAlways)        \
  X(authenticate,    Authenticate,   AuthenticateRequest,   AuthenticateResponse,   kAlways)

#define CANOPY_DIRECTORY_METHODS(X)                                                                 \
  X(create_domain,   CreateDomain,   CreateDomainRequest,   Domain,                 kWithRequestId) \
  X(list_domains,    ListDomains,    ListRequest,           ListDomainsResponse,    kAlways)        \
  X(get_domain,      GetDomain,      DomainRequest,         Domain,                 kAlways)        \
  X(rename_domain,   RenameDomain,   RenameRequest,         Domain,                 kWithRequestId) \
  X(delete_domain,   DeleteDomain,   DeleteRequest,         Empty,                  kWithRequestId) \
  X(create_accounts, CreateAccounts, CreateAccountsRequest, CreateAccountsResponse, kWithRequestId) \
  X(list_accounts,   ListAccounts,   ListRequest,           ListAccountsResponse,   kAlways)        \
  X(get_account,     GetAccount,     AccountRef,            Account,                kAlways)        \
  X(rename_account,  RenameAccount,  RenameRequest,         Account,                kWithRequestId) \
  X(delete_account,  DeleteAccount,  DeleteRequest,         Empty,                  kWithRequestId) \
  X(set_password,    SetPassword,    SetPasswordRequest,    Empty,                  kWithRequestId) \
  X(set_state,       SetState,       SetStateRequest,       Account,                kWithRequestId) \
  X(set_alias,       SetAlias,       SetAliasRequest,       Empty,                  kWithRequestId) \
  X(list_aliases,    ListAliases,    ListRequest,           ListAliasesResponse,    kAlways)        \
  X(resolve,         Resolve,        ResolveRequest,        ResolveResponse,        kAlways)        \
  X(locate,          Locate,         AccountRef,            Location,               kAlways)

#define CANOPY_MAILBOXES_METHODS(X)                                                                 \
  X(list,            List,           ListMailboxesRequest,  ListMailboxesResponse,  kAlways)        \
  X(create,          Create,         CreateMailboxRequest,  Mailbox,                kWithRequestId) \
  X(rename,          Rename,         RenameMailboxRequest,  Empty,                  kWithRequestId) \
  X(remove,          Delete,         DeleteMailboxRequest,  Empty,                  kWithRequestId) \
  X(subscribe,       Subscribe,      SubscribeRequest,      Empty,                  kWithRequestId) \
  X(status,          Status,         MailboxRequest,        Mailbox,                kAlways)        \
  X(open_upload,     OpenUpload,     OpenUploadRequest,     OpenUploadResponse,     kAlways)        \
  X(upload,          Upload,         UploadRequest,         UploadResponse,         kNever)         \
  X(deliver,         Deliver,        DeliverRequest,        DeliverResponse,        kWithRequestId) \
  X(append,          Append,         AppendRequest,         AppendResponse,         kWithRequestId) \
  X(list_messages,   ListMessages,   ListMessagesRequest,   ListMessagesResponse,   kAlways)        \
  X(fetch,           Fetch,          FetchRequest,          FetchResponse,          kAlways)        \
  X(fetch_many,      FetchMany,      FetchManyRequest,      FetchManyResponse,      kAlways)        \
  X(summaries,       Summaries,      SummariesRequest,      SummariesResponse,      kAlways)        \
  X(store_flags,     StoreFlags,     StoreFlagsRequest,     StoreFlagsResponse,     kWithRequestId) \
  X(expunge,         Expunge,        ExpungeRequest,        ExpungeResponse,        kWithRequestId) \
  X(copy,            Copy,           CopyRequest,           CopyResponse,           kWithRequestId) \
  X(lock_maildrop,   LockMaildrop,   LockMaildropRequest,   LockMaildropResponse,   kAlways)        \
  X(unlock_maildrop, UnlockMaildrop, UnlockMaildropRequest, Empty,                  kNever)

#define CANOPY_INFO_METHODS(X)                                                                      \
  X(get,             Get,            GetInfoRequest,        InfoResponse,           kAlways)        \
  X(set,             Set,            SetInfoRequest,        InfoResponse,           kWithRequestId)

#define CANOPY_EVENTS_METHODS(X)                                                                    \
  X(watch,           Watch,          WatchRequest,          WatchResponse,          kAlways)

#define CANOPY_STORES_METHODS(X)                                                                    \
  X(list,            List,           Empty,                 ListStoresResponse,     kAlways)        \
  X(check,           Check,          CheckRequest,          CheckResponse,          kAlways)        \
  X(add,             Add,            AddStoreRequest,       StoreInfo,              kNever)         \
  X(set,             Set,            SetStoreRequest,       StoreInfo,              kNever)         \
  X(remove,          Remove,         StoreRequest,          Empty,                  kNever)         \
  X(test,            Test,           StoreRequest,          TestStoreResponse,      kNever)         \
  X(measure,         Measure,        MeasureStoreRequest,   MeasureStoreResponse,   kNever)         \
  X(get_mounts,      GetMounts,      Empty,                 MountsResponse,         kAlways)        \
  X(set_mounts,      SetMounts,      SetMountsRequest,      MountsResponse,         kNever)         \
  X(list_moves,      ListMoves,      ListMovesRequest,      ListMovesResponse,      kAlways)

#define CANOPY_RELOCATION_METHODS(X)                                                                \
  X(list,            List,           Empty,                 ListRelocationsResponse, kAlways)       \
  X(get,             Get,            DomainRequest,         RelocationInfo,         kAlways)        \
  X(set,             Set,            SetRelocationRequest,  RelocationInfo,         kAlways)        \
  X(cancel,          Cancel,         DomainRequest,         RelocationInfo,         kNever)

#define CANOPY_TREE_METHODS(X)                                                                      \
  X(get_attributes,  GetAttributes,  TreePath,              TreeAttributes,         kAlways)        \
  X(set_attributes,  SetAttributes,  TreeSetAttributesRequest, TreeAttributes,      kAlways)        \
  X(list,            List,           TreeListRequest,       TreeListResponse,       kAlways)        \
  X(read_link,       ReadLink,       TreePath,              TreeReadLinkResponse,   kAlways)        \
  X(make,            Make,           TreeMakeRequest,       TreeAttributes,         kWithRequestId) \
  X(remove,          Remove,         TreeRemoveRequest,     Empty,                  kWithRequestId) \
  X(rename,          Rename,         TreeRenameRequest,     Empty,                  kWithRequestId) \
  X(get_space,       GetSpace,       TreePath,              TreeSpace,              kAlways)        \
  X(open,            Open,           TreeOpenRequest,       TreeAttributes,         kWithRequestId) \
  X(read,            Read,           TreeReadRequest,       TreeReadResponse,       kNever)         \
  X(write,           Write,          TreeWriteRequest,      TreeWriteResponse,      kNever)         \
  X(allocate,        Allocate,       TreeAllocateRequest,   TreeAttributes,         kNever)         \
  X(seek,            Seek,           TreeSeekRequest,       TreeSeekResponse,       kNever)         \
  X(sync,            Sync,           TreeSyncRequest,       Empty,                  kAlways)        \
  X(close,           Close,          TreeCloseRequest,      Empty,                  kNever)         \
  X(get_xattr,       GetXattr,       TreeXattrRequest,      TreeXattrValue,         kAlways)        \
  X(list_xattrs,     ListXattrs,     TreePath,              TreeXattrNames,         kAlways)        \
  X(set_xattr,       SetXattr,       TreeSetXattrRequest,   Empty,                  kWithRequestId) \
  X(remove_xattr,    RemoveXattr,    TreeXattrRequest,      Empty,                  kWithRequestId) \
  X(lock,            Lock,           TreeLockRequest,       TreeLockResponse,       kAlways)        \
  X(watch,           Watch,          TreeWatchRequest,      TreeWatchResponse,      kAlways)

#define CANOPY_CLUSTER_METHODS(X)                                                                   \
  X(get_status,      GetStatus,      Empty,                 ClusterStatus,          kAlways)        \
  X(metrics,         Metrics,        Empty,                 MetricsResponse,        kAlways)        \
  X(compact_account, CompactAccount, AccountRef,            Empty,                  kAlways)        \
  X(close_account,   CloseAccount,   AccountRef,            Empty,                  kAlways)
// clang-format on

}  // namespace canopy::wire
