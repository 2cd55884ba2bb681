// A simulated accelerator for tests: the device `npu` of torch's PrivateUse1 slot.
//
// Device memory is host memory and every kernel is the CPU's. All operators reach one boxed fallback, which
// lends the CPU kernel an alias of the device tensor's memory (no copy) and gives the result back as a device
// tensor. Like a real accelerator it refuses to mix devices; unlike one, it has no queue: work is done when a
// call returns. What this proves and what it does not: tests/npusim/__init__.py.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include <thread>

#include "device.h"

namespace {
// ---- one memory, two kinds of tensor ----
// `like` again, over `data` and as a tensor of `device`; `keeper` lives as long as the new tensor's storage.
template <typename Keeper>
Tensor over(const Tensor& like, Device device, c10::Allocator* allocator, Keeper* keeper) {
  const auto key = device.type() == kNpu ? c10::DispatchKey::PrivateUse1 : c10::DispatchKey::CPU;
  void* data = const_cast<void*>(like.storage().data());
  c10::DataPtr owned(data, keeper, [](void* k) { delete static_cast<Keeper*>(k); }, device);
  c10::Storage storage(c10::Storage::use_byte_size_t(), like.storage().nbytes(), std::move(owned), allocator, true);
  auto made = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return made;
}

Tensor as_cpu(const Tensor& t) { // the device tensor's memory, seen as a CPU tensor
  if (!t.defined() || t.device().type() != kNpu) return t;
  struct Keeper { c10::Storage memory; }; // not the tensor: an operator may give that another storage
  auto made = over(t, Device(kCpu), at::getCPUAllocator(), new Keeper{t.storage()});
  if (t.is_conj()) made._set_conj(true);
  return made;
}

Tensor as_npu(const Tensor& t, Device device) { // a result of a CPU kernel, seen as a device tensor
  struct Keeper {
    Keeper(Tensor t, DeviceIndex d) : cpu_tensor(std::move(t)), device(d), bytes(cpu_tensor.storage().nbytes()) {
      count(device, bytes);
    }
    ~Keeper() { count(device, -bytes); }
    Tensor cpu_tensor;
    DeviceIndex device;
    int64_t bytes;
  };
  return over(t, device, &allocator, new Keeper(t, device.index()));
}

// Autograd runs a device's backward in a thread of its own, whose number of OpenMP threads may differ from the
// main thread's, and with it the order of sums: results would not equal the CPU's.
const auto main_thread = std::this_thread::get_id();
std::atomic<int> main_count{0};
void count_like_main_thread() {
  if (std::this_thread::get_id() == main_thread) main_count = at::get_num_threads();
  else if (main_count && at::get_num_threads() != main_count) at::set_num_threads(main_count);
}

// ---- the fallback: every operator that has no kernel of its own below ----
struct Call {
  explicit Call(std::string name) : name(std::move(name)) {}
  std::string name;
  std::optional<Device> device; // of the first device argument: all others must be the same
  std::optional<at::Generator> generator;
  std::vector<std::pair<Tensor, Tensor>> lent; // device tensor, its CPU alias

  void check_other(const Tensor& t) const { // a tensor that is not on an npu: who may come along?
    const bool index = name == "aten::index" || name.rfind("aten::index_put", 0) == 0 ||
        name == "aten::_index_put_impl_"; // these take indices from the host
    const bool scalar = t.dim() == 0 && t.device().type() == kCpu; // torch lets a host scalar join any device
    TORCH_CHECK(scalar || index || t.device().type() == c10::DeviceType::Meta,
                "Expected all tensors to be on the same device, but found at least two devices, npu and ",
                t.device(), "! (", name, ")");
  }
  Tensor lend(const Tensor& t) {
    if (!t.defined()) return t;
    if (t.device().type() != kNpu) { check_other(t); return t; }
    if (!device) device = t.device();
    TORCH_CHECK(*device == t.device(), "Expected all tensors to be on the same device, but found at least two "
                "devices, ", *device, " and ", t.device(), "! (", name, ")");
    lent.emplace_back(t, as_cpu(t));
    return lent.back().second;
  }
  void lend(c10::IValue& v) {
    if (v.isTensor()) v = lend(v.toTensor());
    else if (v.isTensorList()) {
      std::vector<Tensor> out;
      for (const Tensor& t : v.toTensorList()) out.push_back(lend(t));
      v = out;
    } else if (v.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> out;
      for (std::optional<Tensor> t : v.toOptionalTensorList()) {
        if (t && t->device().type() == kNpu && t->scalar_type() == at::kBool) host_reads++; // an index: a nonzero
        out.push_back(t ? std::optional(lend(*t)) : t);
      }
      v = out;
    } else if (v.isDevice() && v.toDevice().type() == kNpu) {
      if (!device) device = v.toDevice();
      v = Device(kCpu);
    } else if (v.isGenerator() && v.toGenerator().device().type() == kNpu) {
      generator = v.toGenerator();
      v = c10::IValue(); // the CPU's default one, which takes this one's place meanwhile
    }
  }
  void take_over_shapes() { // what an in-place or out= operator did to a tensor's shape
    for (auto& [npu, cpu] : lent) {
      // A kernel may also grow its output and shrink it again (mse_loss.out): same shape, other memory.
      const bool moved = npu.storage().data() != cpu.storage().data();
      if (!moved && npu.sizes() == cpu.sizes() && npu.strides() == cpu.strides()) continue;
      if (moved) npu.unsafeGetTensorImpl()->set_storage_keep_dtype(as_npu(cpu, *device).storage());
      npu.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides(), cpu.storage_offset());
    }
  }
  Tensor give_back(const Tensor& t) const {
    if (!t.defined() || t.device().type() != kCpu) return t;
    for (auto& [npu, cpu] : lent)
      if (cpu.is_same(t)) return npu;
    for (auto& [npu, cpu] : lent) {
      if (cpu.storage().unsafeGetStorageImpl() != t.storage().unsafeGetStorageImpl()) continue;
      auto view = at::detail::make_tensor<c10::TensorImpl>(
          c10::TensorImpl::VIEW, c10::Storage(npu.storage()), npu.key_set(), t.dtype());
      view.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides(), t.storage_offset());
      return view;
    }
    return as_npu(t, *device);
  }
  void give_back(c10::IValue& v) const {
    if (v.isTensor()) v = give_back(v.toTensor());
    else if (v.isTensorList()) {
      std::vector<Tensor> out;
      for (const Tensor& t : v.toTensorList()) out.push_back(give_back(t));
      v = out;
    }
  }
};

void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  note(schema.name(), schema.overload_name());
  count_like_main_thread();
  // A result whose shape or value the host must know before it goes on: nonzero, unique, equal.
  if (op.hasTag(at::Tag::data_dependent_output) ||
      (op.hasTag(at::Tag::dynamic_output_shape) && schema.name() != "aten::index")) host_reads++;
  Call call(schema.name());
  const size_t first = stack->size() - schema.arguments().size();
  for (size_t i = first; i < stack->size(); i++) call.lend((*stack)[i]);
  if (!call.device || call.device->index() < 0) call.device = Device(kNpu, current);
  {
    std::optional<LentState> random;
    if (call.generator) random.emplace(*call.generator);
    else if (op.hasTag(at::Tag::nondeterministic_seeded)) random.emplace(default_generator(call.device->index()));
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  call.take_over_shapes();
  for (size_t i = stack->size() - schema.returns().size(); i < stack->size(); i++) call.give_back((*stack)[i]);
}

// ---- kernels of its own: allocation, copies between devices, storage, convolution ----
const c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);
using Sym = c10::SymIntArrayRef;

Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  note("aten::empty", "memory_format");
  c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(size, &allocator, kKeys, c10::dtype_or_default(dtype), format);
}
Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<Device> device, std::optional<bool>) {
  note("aten::empty_strided");
  c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(size, stride, &allocator, kKeys, c10::dtype_or_default(dtype));
}
Tensor copy_from(const Tensor& from, const Tensor& to, bool) { // what aten::copy_ comes to
  note("aten::copy_");
  if (to.device().type() == kCpu) host_reads++;
  as_cpu(to).copy_(as_cpu(from));
  return to;
}
Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}
at::Scalar local_scalar(const Tensor& t) { // item()
  note("aten::_local_scalar_dense");
  host_reads++;
  return as_cpu(t).item();
}
const Tensor& resize_(const Tensor& t, Sym sym_size, std::optional<at::MemoryFormat> format) {
  const auto size = C10_AS_INTARRAYREF_SLOW(sym_size);
  note("aten::resize_");
  if (t.sizes() == size) return t;
  auto fresh = at::empty(size, t.options(), format);
  const size_t kept = std::min(t.nbytes(), fresh.nbytes());
  if (kept) std::memcpy(fresh.mutable_data_ptr(), t.const_data_ptr(), kept);
  t.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
  t.unsafeGetTensorImpl()->set_sizes_and_strides(fresh.sizes(), fresh.strides());
  return t;
}
Tensor& set_all(Tensor& t, at::Storage storage, c10::SymInt offset, Sym size, Sym stride) {
  note("aten::set_", "source_Storage_storage_offset");
  t.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  t.unsafeGetTensorImpl()->set_sizes_and_strides(
      C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), offset.expect_int());
  return t;
}
Tensor& set_storage(Tensor& t, at::Storage storage) {
  const c10::SymInt n = storage.nbytes() / t.dtype().itemsize(), one = 1;
  return set_all(t, storage, 0, Sym(&n, 1), Sym(&one, 1));
}
Tensor& set_tensor(Tensor& t, const Tensor& source) {
  return set_all(t, source.storage(), source.sym_storage_offset(), source.sym_sizes(), source.sym_strides());
}
// torch asks a PrivateUse1 device for these two by name instead of reaching the fallback.
Tensor convolution(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, Sym stride, Sym padding,
                   Sym dilation, bool transposed, Sym output_padding, c10::SymInt groups) {
  note("aten::convolution_overrideable");
  count_like_main_thread();
  at::AutoDispatchBelowADInplaceOrView below;
  Call call("aten::convolution");
  auto y = at::convolution_symint(call.lend(x), call.lend(weight), bias ? std::optional(call.lend(*bias)) : bias,
                                  stride, padding, dilation, transposed, output_padding, groups);
  return as_npu(y, x.device());
}
std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& dy, const Tensor& x, const Tensor& weight, Sym stride, Sym padding, Sym dilation, bool transposed,
    Sym output_padding, c10::SymInt groups, std::array<bool, 3> mask) {
  note("aten::convolution_backward_overrideable");
  count_like_main_thread();
  at::AutoDispatchBelowADInplaceOrView below;
  const std::vector<c10::SymInt> channels{dy.sym_size(1)};
  auto [dx, dw, db] = at::convolution_backward_symint(
      as_cpu(dy), as_cpu(x), as_cpu(weight), mask[2] ? at::OptionalSymIntArrayRef(channels) : std::nullopt, stride,
      padding, dilation, transposed, output_padding, groups, mask);
  auto back = [&](const Tensor& t) { return t.defined() ? as_npu(t, x.device()) : t; };
  return {back(dx), back(dw), back(db)};
}

// torch_npu.npu_change_data_ptr: `to`'s storage becomes a part of `from`'s memory, `index` elements in. Views
// of `to` follow, as they do there. (There nothing keeps `from` alive; here the storage does.)
void change_data_ptr(const Tensor& to, const Tensor& from, int64_t index) {
  TORCH_CHECK(to.dtype() == from.dtype(), "Expect src and dst tensors having the same dtype");
  const int64_t start = index * int64_t(from.element_size());
  TORCH_CHECK(index >= 0 && start + to.storage().nbytes() <= from.storage().nbytes(), "Offsets overflow");
  c10::DataPtr part(static_cast<char*>(const_cast<void*>(from.storage().data())) + start, new Tensor(from),
                    [](void* k) { delete static_cast<Tensor*>(k); }, to.device());
  to.storage().unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(part));
}
} // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }
TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar);
  m.impl("resize_", resize_);
  m.impl("set_.source_Storage_storage_offset", set_all);
  m.impl("set_.source_Storage", set_storage);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("convolution_overrideable", convolution);
  m.impl("convolution_backward_overrideable", convolution_backward);
}
// torch.autocast: the lists that torch keeps for every device
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
#define TO_HALF(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define TO_FLOAT(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define FLOAT_RESULT(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define TO_WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_LOWER_PRECISION_FP(TO_HALF)
  AT_FORALL_FP32(TO_FLOAT)
  AT_FORALL_FP32_SET_OPT_DTYPE(FLOAT_RESULT)
  AT_FORALL_PROMOTE(TO_WIDEST)
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  m.def("set_visible", [](int n) { TORCH_CHECK(n >= 0 && n <= kMost, "0 to ", kMost, " devices"); visible = n; });
  m.def("device_count", [] { return visible.load(); });
  m.def("set_device", [](int index) {
    TORCH_CHECK(index >= 0, "invalid device index ", index);
    Guard().setDevice({kNpu, DeviceIndex(index)});
  });
  m.def("current_device", [] { return int(current); });
  m.def("as_cpu", &as_cpu);
  m.def("change_data_ptr", &change_data_ptr);
  m.def("default_generator", [](int device) { return default_generator(device); });
  m.def("host_reads", [] { return host_reads.load(); });
  m.def("ops_seen", [] {
    std::lock_guard<std::mutex> lock(books);
    return std::vector<std::string>(seen.begin(), seen.end());
  });
  m.def("reset_ops_seen", [] { std::lock_guard<std::mutex> lock(books); seen.clear(); });
  m.def("ban", [](const std::vector<std::string>& names) {
    std::lock_guard<std::mutex> lock(books);
    banned = std::set<std::string>(names.begin(), names.end());
  });
}
