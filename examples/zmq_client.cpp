// Ask a policy server for actions: three steps, a chunk, and an error.
//
//     apt install g++ cppzmq-dev libmsgpack-cxx-dev
//     g++ -std=c++17 -O2 -DMSGPACK_NO_BOOST zmq_client.cpp -o zmq_client -lzmq
//     ./zmq_client tcp://127.0.0.1:5555 rgb_main=main.jpg rgb_left=left.png ...
//
// An image is a JPEG or PNG file of the policy's size.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <msgpack.hpp>
#include <zmq.hpp>

using Bytes = std::vector<char>;
using Packer = msgpack::packer<msgpack::sbuffer>;
using Fields = std::map<std::string, msgpack::object>;

struct ServerError : std::runtime_error {
  ServerError(const std::string& code, const std::string& message)
      : std::runtime_error(code + ": " + message), code(code) {}
  std::string code;
};

// Numbers of a reply, as MessagePack carries them. (As on all common machines, little-endian.)
struct Array {
  std::vector<size_t> shape;
  std::vector<double> numbers;

  explicit Array(const msgpack::object& value) {
    auto fields = value.as<Fields>();
    shape = fields.at("shape").as<std::vector<size_t>>();
    auto data = fields.at("data").as<Bytes>();
    if (fields.at("dtype").as<std::string>() == "<f8") read<double>(data);
    else read<float>(data);
  }

  template <typename T>
  void read(const Bytes& data) {
    std::vector<T> values(data.size() / sizeof(T));
    std::memcpy(values.data(), data.data(), values.size() * sizeof(T));
    numbers.assign(values.begin(), values.end());
  }
};

class Client {
 public:
  std::string session;

  Client(const std::string& endpoint, std::string session, int timeout_ms = 5000, int tries = 3)
      : session(std::move(session)), tries_(tries), socket_(context_, zmq::socket_type::req) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, timeout_ms);
    // After a time-out the same request may be sent again, and a late reply is dropped.
    socket_.set(zmq::sockopt::req_correlate, true);
    socket_.set(zmq::sockopt::req_relaxed, true);
    socket_.connect(endpoint);
  }

  void reset() {
    call("reset", 1, [&](Packer& out) { pack(out, "session", session); });
  }

  // The action of a step; no limits are applied to it.
  Array act(const std::vector<float>& qpos, const std::map<std::string, Bytes>& images, int step) {
    return Array(call("act", 5, [&](Packer& out) {
      pack(out, "session", session);
      pack(out, "step", step);
      pack(out, "deadline", 5.0);
      observation(out, qpos, images);
    }).at("action"));
  }

  // What the policy predicts from this observation, row after row, one for each step.
  Array chunk(const std::vector<float>& qpos, const std::map<std::string, Bytes>& images) {
    return Array(call("act", 3, [&](Packer& out) {
      pack(out, "reply", "chunk");
      observation(out, qpos, images);
    }).at("chunk"));
  }

 private:
  zmq::context_t context_;
  int tries_;
  zmq::socket_t socket_;
  msgpack::object_handle reply_;  // what the fields of the last reply point into
  // Not again that of an earlier run.
  int64_t id_ = std::chrono::system_clock::now().time_since_epoch().count();

  template <typename T>
  static void pack(Packer& out, const char* name, const T& value) {
    out.pack(name);
    out.pack(value);
  }

  static void observation(Packer& out, const std::vector<float>& qpos,
                          const std::map<std::string, Bytes>& images) {
    out.pack("qpos");
    out.pack_map(3);
    pack(out, "dtype", "<f4");
    pack(out, "shape", std::vector<size_t>{qpos.size()});
    out.pack("data");
    out.pack_bin(qpos.size() * sizeof(float));
    out.pack_bin_body(reinterpret_cast<const char*>(qpos.data()), qpos.size() * sizeof(float));
    pack(out, "images", images);  // std::vector<char> is bin
  }

  // Send a request, several times if need be: the same id is never run twice.
  Fields call(const char* request, size_t count, const std::function<void(Packer&)>& fields) {
    msgpack::sbuffer message;
    Packer out(message);
    out.pack_map(2 + count);
    pack(out, "request", request);
    pack(out, "id", ++id_);
    fields(out);
    for (int i = 0; i < tries_; ++i) {
      socket_.send(zmq::buffer(message.data(), message.size()), zmq::send_flags::none);
      zmq::message_t answer;
      if (!socket_.recv(answer)) continue;
      reply_ = msgpack::unpack(answer.data<char>(), answer.size());
      auto reply = reply_.get().as<Fields>();
      if (reply.at("status").as<std::string>() == "OK") return reply;
      throw ServerError(reply.at("error").as<std::string>(),
                        reply.at("message").as<std::string>());
    }
    throw std::runtime_error("no answer; is the server running there?");
  }
};

static void print(const Array& array, size_t count) {
  for (size_t i = 0; i < count; ++i) std::printf(" %.9g", array.numbers.at(i));
  std::printf("\n");
}

static int run(int argc, char** argv) {
  if (argc < 2) throw std::runtime_error("usage: zmq_client ENDPOINT CAMERA=FILE ...");
  std::map<std::string, Bytes> images;
  for (int i = 2; i < argc; ++i) {
    std::string camera = argv[i];
    size_t equals = camera.find('=');
    std::ifstream file(camera.substr(equals + 1), std::ios::binary);
    images[camera.substr(0, equals)] =
        Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::vector<float> qpos(17);  // of the robot
  Client client(argv[1], "c++");
  client.reset();
  for (int step = 0; step < 3; ++step) {
    Array action = client.act(qpos, images, step);
    std::printf("action %d", step);
    print(action, action.numbers.size());
  }
  Array chunk = client.chunk(qpos, images);
  std::printf("chunk %zu %zu", chunk.shape.at(0), chunk.shape.at(1));
  print(chunk, chunk.shape[1]);
  client.session = "c++, never begun";
  try {
    client.act(qpos, images, 3);
  } catch (const ServerError& error) {
    std::printf("error %s\n", error.code.c_str());
  }
  return 0;
}

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
