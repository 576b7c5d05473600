// Owners of what libevent makes: each object is freed where its owner's scope
// ends, so the order of members and variables is the order of teardown.

#pragma once

#include <memory>
#include <new>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>

namespace embed_libevent {

template <auto Free>
struct FreeWith {
  template <class Object>
  void operator()(Object* object) const noexcept {
    Free(object);
  }
};

using EventBase = std::unique_ptr<event_base, FreeWith<event_base_free>>;
using Event = std::unique_ptr<event, FreeWith<event_free>>;
using Buffer = std::unique_ptr<evbuffer, FreeWith<evbuffer_free>>;
using BufferEvent = std::unique_ptr<bufferevent, FreeWith<bufferevent_free>>;
using Listener = std::unique_ptr<evconnlistener, FreeWith<evconnlistener_free>>;
using HttpServer = std::unique_ptr<evhttp, FreeWith<evhttp_free>>;

/// `object`, or std::bad_alloc where libevent had no memory for one.
template <class Object>
Object* not_null(Object* object) {
  if (object == nullptr) {
    throw std::bad_alloc();
  }
  return object;
}

}  // namespace embed_libevent
