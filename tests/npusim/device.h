// The simulated device without its operators: what torch asks of an accelerator's memory, random numbers,
// streams and events. Included once, by npusim.cpp, which see.
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/extension.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>

namespace {
using at::Tensor;
using c10::Device;
using c10::DeviceIndex;
constexpr auto kNpu = c10::DeviceType::PrivateUse1;
constexpr auto kCpu = c10::DeviceType::CPU;
constexpr int kMost = 8;                     // an Ascend server holds 8
constexpr size_t kMemory = size_t(64) << 30; // bytes a device claims to have
std::atomic<int> visible{kMost};             // 0: as on a machine without NPU
thread_local DeviceIndex current = 0;

// ---- what tests may ask: operators that ran, operators forbidden, reads by the host ----
std::mutex books; // guards `seen`, `banned` and `pinned`
std::set<std::string> seen, banned;
std::set<const void*> pinned;
std::atomic<int64_t> host_reads{0};

void note(const std::string& name, const std::string& overload = "") {
  const std::string full = overload.empty() ? name : name + "." + overload;
  std::lock_guard<std::mutex> lock(books);
  TORCH_CHECK_NOT_IMPLEMENTED(!banned.count(name) && !banned.count(full), "operator ", full,
                              " is banned on the simulated npu");
  seen.insert(full);
}

// ---- memory, counted per device ----
std::mutex meter;
std::array<int64_t, kMost> bytes_now{}, bytes_peak{};

void count(DeviceIndex device, int64_t bytes) {
  std::lock_guard<std::mutex> lock(meter);
  bytes_now[device] += bytes;
  bytes_peak[device] = std::max(bytes_peak[device], bytes_now[device]);
}

struct Block { void* data; int64_t bytes; DeviceIndex device; };
void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  count(block->device, -block->bytes);
  c10::free_cpu(block->data);
  delete block;
}

struct Allocator final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto* block = new Block{bytes ? c10::alloc_cpu(bytes) : nullptr, int64_t(bytes), current};
    count(current, bytes);
    return {block->data, block, &free_block, Device(kNpu, current)};
  }
  void copy_data(void* to, const void* from, std::size_t n) const override { std::memcpy(to, from, n); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(meter);
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* kind : {&stats.allocated_bytes[0], &stats.reserved_bytes[0]}) {
      kind->current = bytes_now[device];
      kind->peak = bytes_peak[device];
    }
    return stats;
  }
  void resetAccumulatedStats(DeviceIndex) override {}
  void resetPeakStats(DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(meter);
    bytes_peak[device] = bytes_now[device];
  }
  std::pair<size_t, size_t> getMemoryInfo(DeviceIndex device) override {
    std::lock_guard<std::mutex> lock(meter);
    return {kMemory - bytes_now[device], kMemory};
  }
};
Allocator allocator;
REGISTER_ALLOCATOR(kNpu, &allocator);

struct PinnedAllocator final : c10::Allocator {
  static void free(void* data) {
    std::lock_guard<std::mutex> lock(books);
    pinned.erase(data);
    c10::free_cpu(data);
  }
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(std::max<size_t>(bytes, 1));
    std::lock_guard<std::mutex> lock(books);
    pinned.insert(data);
    return {data, data, &free, Device(kCpu)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, std::size_t n) const override { std::memcpy(to, from, n); }
} pinned_allocator;

// ---- random numbers: each device has the CPU's generator, with a state of its own ----
struct Generator final : at::CPUGeneratorImpl {
  explicit Generator(DeviceIndex device) {
    device_ = Device(kNpu, device);
    key_set_ = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);
  }
};
at::Generator& default_generator(DeviceIndex device) {
  static std::vector<at::Generator> all = [] {
    std::vector<at::Generator> made;
    for (int i = 0; i < kMost; i++) made.push_back(at::make_generator<Generator>(i));
    return made;
  }();
  return all.at(device < 0 ? current : device);
}

std::mutex lending;
struct LentState { // while it lives, the CPU's default generator continues the device's sequence
  explicit LentState(at::Generator device) : lock(lending), device(std::move(device)), saved(cpu.get_state()) {
    cpu.set_state(this->device.get_state());
  }
  ~LentState() {
    device.set_state(cpu.get_state());
    cpu.set_state(saved);
  }
  std::lock_guard<std::mutex> lock;
  at::Generator cpu = at::detail::getDefaultCPUGenerator(), device;
  Tensor saved;
};

// ---- devices, streams, events ----
thread_local std::array<c10::StreamId, kMost> streams{};
std::atomic<c10::StreamId> next_stream{1};
using Clock = std::chrono::steady_clock;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kNpu; }
  Device getDevice() const override { return {kNpu, current}; }
  void setDevice(Device d) const override {
    TORCH_CHECK(d.index() < visible, "invalid device ", d, ": ", visible.load(), " simulated npu are visible");
    uncheckedSetDevice(d);
  }
  void uncheckedSetDevice(Device d) const noexcept override { if (d.index() >= 0) current = d.index(); }
  Device exchangeDevice(Device d) const override { auto old = getDevice(); setDevice(d); return old; }
  DeviceIndex deviceCount() const noexcept override { return visible; }
  c10::Stream stream(Device d, c10::StreamId id) const { return c10::Stream(c10::Stream::UNSAFE, d, id); }
  static Device indexed(Device d) { return {kNpu, d.index() < 0 ? current : d.index()}; }
  c10::Stream getStream(Device d) const override { return stream(indexed(d), streams[indexed(d).index()]); }
  c10::Stream getDefaultStream(Device d) const override { return stream(indexed(d), 0); }
  c10::Stream getNewStream(Device d, int) const override { return stream(indexed(d), next_stream++); }
  c10::Stream exchangeStream(c10::Stream s) const override {
    auto old = getStream(s.device());
    streams[s.device_index()] = s.id();
    return old;
  }
  // An event holds the time at which it was recorded: work is done when a call returns, so that is also the
  // time at which the device reached it.
  void record(void** event, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {
    if (!*event) *event = new Clock::time_point;
    *static_cast<Clock::time_point*>(*event) = Clock::now();
  }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override {
    delete static_cast<Clock::time_point*>(event);
  }
  double elapsedTime(void* from, void* to, const DeviceIndex) const override {
    const auto span = *static_cast<Clock::time_point*>(to) - *static_cast<Clock::time_point*>(from);
    return std::chrono::duration<double, std::milli>(span).count();
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const DeviceIndex) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return visible > 0; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return visible; }
  void setCurrentDevice(DeviceIndex d) const override { Guard().setDevice({kNpu, d}); }
  DeviceIndex getCurrentDevice() const override { return current; }
  DeviceIndex exchangeDevice(DeviceIndex d) const override { return Guard().exchangeDevice({kNpu, d}).index(); }
  DeviceIndex maybeExchangeDevice(DeviceIndex d) const override { return exchangeDevice(d); }
  const at::Generator& getDefaultGenerator(DeviceIndex d) const override { return default_generator(d); }
  at::Generator getNewGenerator(DeviceIndex d) const override {
    return at::make_generator<Generator>(d < 0 ? current : d);
  }
  Device getDeviceFromPtr(void*) const override { return {kNpu, current}; }
  bool isPinnedPtr(const void* data) const override {
    std::lock_guard<std::mutex> lock(books);
    return pinned.count(data) > 0;
  }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    auto fresh = allocator.allocate(bytes);
    if (storage.nbytes()) std::memcpy(fresh.mutable_get(), storage.data(), std::min(bytes, storage.nbytes()));
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(fresh));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
};
} // namespace
