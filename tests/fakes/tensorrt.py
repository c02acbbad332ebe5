"""A TensorRT whose engines are ONNX graphs on ONNX Runtime, reading and writing device memory."""

from __future__ import annotations

import ctypes
import enum
import json
import types

import numpy as np
import onnx
import onnxruntime as ort

MAGIC = b"FAKEENGINE"


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = Severity

    def __init__(self):
        pass


class IProfiler:
    def __init__(self):
        pass


class IProgressMonitor:
    def __init__(self):
        pass

    def entered(self):
        """What a test lets happen during the only step of a build."""


class FakeTensorRT:
    """The module `tensorrt`; `cuda` is the device that its engines run on."""

    ILogger = ILogger
    IProfiler = IProfiler
    IProgressMonitor = IProgressMonitor
    ProfilingVerbosity = types.SimpleNamespace(DETAILED=1)
    MemoryPoolType = types.SimpleNamespace(WORKSPACE=0)
    NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=1)
    BuilderFlag = types.SimpleNamespace(TF32=7)
    TensorIOMode = types.SimpleNamespace(INPUT="input", OUTPUT="output")
    ExecutionContextAllocationStrategy = types.SimpleNamespace(USER_MANAGED=2)

    def __init__(self, cuda, version="10.3.0", noise=0.0):
        self.__version__ = version
        self.cuda, self.noise = cuda, noise
        self.configs, self.executed, self.deserialized = [], 0, 0
        self.bytes_per_number = 8
        self.speechless = self.refuses_memory = False
        """Whether contexts fail to tell what they need, and refuse what they are lent."""
        self.eager = []
        """Of every context of RTX, whether new shapes wait for kernels of their own."""
        self.contexts = 1 << 30
        """How many more it can make."""
        self.too_new = False
        """Whether the driver is too old for it."""
        self.refuses = None
        """A function of a stream that says whether nothing can be enqueued on it."""
        self.refusal = "enqueueV3 failed"

    def Builder(self, logger):
        return self._started(Builder, logger)

    def OnnxParser(self, network, logger):
        return Parser(network)

    def Runtime(self, logger):
        return self._started(Runtime, logger)

    def _started(self, part, logger):
        if self.too_new:
            logger.log(Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return part(self, logger)


class Builder:
    def __init__(self, api, logger):
        self.api, self.logger = api, logger

    def create_network(self, flags):
        assert flags == 2, "not strongly typed"
        return Network()

    def create_builder_config(self):
        self.api.configs.append(Config())
        return self.api.configs[-1]

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        config.progress_monitor.phase_start("Building", None, 1)
        config.progress_monitor.entered()
        if not config.progress_monitor.step_complete("Building", 0):
            self.logger.log(Severity.ERROR, "the build was cancelled")
            return None
        config.progress_monitor.phase_finish("Building")
        if any(node.op_type == "GridSample" for node in network.model.graph.node):
            self.logger.log(Severity.ERROR, "no implementation of GridSample")
            return None
        content = {"profiles": config.profiles, "graph": network.graph.hex()}
        if config.cache is not None:
            config.cache.content += b"+"
        return MAGIC + json.dumps(content).encode()


class Config:
    def __init__(self):
        self.profiles, self.limits, self.cache, self.capabilities = [], {}, None, {}

    def clear_flag(self, flag):
        self.cleared = flag

    def set_memory_pool_limit(self, pool, size):
        self.limits[pool] = size

    def create_timing_cache(self, content):
        self.cache = types.SimpleNamespace(content=content, serialize=lambda: self.cache.content)
        return self.cache

    def set_timing_cache(self, cache, *, ignore_mismatch):
        assert not ignore_mismatch
        if cache.content.startswith(b"other"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache

    def set_compute_capability(self, capability, index):
        self.capabilities[index] = capability

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, least, usual, most):
        assert all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True))
        self.shapes[name] = [least, usual, most]


class Network:
    graph = model = None

    @property
    def num_inputs(self):
        return len(self.model.graph.input)

    def get_input(self, index):
        value = self.model.graph.input[index]
        dims = value.type.tensor_type.shape.dim
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in dims]
        return types.SimpleNamespace(name=value.name, shape=shape)


class Parser:
    def __init__(self, network):
        self.network, self.num_errors = network, 0

    def parse(self, graph):
        try:
            self.network.model = onnx.load_model_from_string(graph)
        except Exception:
            self.num_errors = 1
            return False
        self.network.graph = graph
        return True

    def get_error(self, index):
        return types.SimpleNamespace(desc=lambda: "this is no ONNX graph")


class Runtime:
    def __init__(self, api, logger):
        self.api, self.logger = api, logger

    def deserialize_cuda_engine(self, content):
        if not content.startswith(MAGIC):
            self.logger.log(Severity.ERROR, "magic number does not match")
            return None
        self.api.deserialized += 1
        return self.engine(self.api, json.loads(content[len(MAGIC) :]), self.logger)

    @property
    def engine(self):
        return FakeEngine


class FakeEngine:
    def __init__(self, api, content, logger):
        self.api, self.profiles, self.logger = api, content["profiles"], logger
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        graph = bytes.fromhex(content["graph"])
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.io = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.io)
        self.output_shapes = {}
        largest = [[most for _, _, most in profile.values()] for profile in self.profiles]
        self.device_memory_size_v2 = api.bytes_per_number * max(map(_numbers, largest))

    def get_tensor_name(self, index):
        return self.io[index].name

    def _value(self, name):
        return next(value for value in self.io if value.name == name)

    def get_tensor_mode(self, name):
        inputs = {value.name for value in self.session.get_inputs()}
        return "input" if name in inputs else "output"

    def get_tensor_dtype(self, name):
        kinds = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF"}
        return types.SimpleNamespace(name=kinds[self._value(name).type])

    def get_tensor_shape(self, name):
        return [d if isinstance(d, int) else -1 for d in self._value(name).shape]

    def create_execution_context(self, strategy):
        assert strategy == self.api.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.api.contexts == 0:
            self.logger.log(Severity.ERROR, self.api.refusal)
            return None
        self.api.contexts -= 1
        return Context(self)


class FakeRtx(FakeTensorRT):
    """The module `tensorrt_rtx`."""

    ComputeCapability = types.SimpleNamespace(SM75=75, SM86=86, SM89=89, SM120=120)
    DynamicShapesKernelSpecializationStrategy = types.SimpleNamespace(LAZY=0, EAGER=1)
    CudaGraphStrategy = types.SimpleNamespace(DISABLED=0, WHOLE_GRAPH_CAPTURE=1)

    def Runtime(self, logger):
        return self._started(RtxRuntime, logger)


class RtxRuntime(Runtime):
    engine = property(lambda self: RtxEngine)


class RtxEngine(FakeEngine):
    def create_runtime_config(self):
        return RuntimeConfig(self.api)

    def create_execution_context(self, config):
        assert config.cuda_graph_strategy == self.api.CudaGraphStrategy.DISABLED
        self.api.eager.append(config.dynamic_shapes_kernel_specialization_strategy == 1)
        return super().create_execution_context(config.strategy)


class RuntimeConfig:
    """Of an RTX context; its cache is a word longer for every context that used it."""

    dynamic_shapes_kernel_specialization_strategy = 0

    def __init__(self, api):
        self.api = api

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return RuntimeCache()

    def set_runtime_cache(self, cache):
        cache.content += b"kernel "


class RuntimeCache:
    content = b""

    def serialize(self):
        return self.content

    def deserialize(self, content):
        self.content = content
        return content.startswith(b"kernel ")


class Context:
    def __init__(self, engine):
        self.engine, self.profile, self.profiler = engine, 0, None
        self.shapes, self.addresses, self.memory = {}, {}, (0, 0)

    def set_optimization_profile_async(self, index, stream):
        self.profile = index
        return True

    def set_input_shape(self, name, shape):
        least, _, most = self.engine.profiles[self.profile][name]
        if not all(a <= x <= b for a, x, b in zip(least, shape, most, strict=True)):
            self.engine.logger.log(Severity.ERROR, f"{name} {shape} is outside the profile")
            return False
        self.shapes[name] = tuple(shape)
        return True

    def update_device_memory_size_for_shapes(self):
        if self.engine.api.speechless:
            self.engine.logger.log(Severity.ERROR, "the shapes are not known")
            return 0
        return self.needed()

    def needed(self):
        return _numbers(self.shapes.values()) * self.engine.api.bytes_per_number

    def set_device_memory(self, pointer, size):
        if size < self.needed() or self.engine.api.refuses_memory:
            self.engine.logger.log(Severity.ERROR, "setDeviceMemoryV2: size >= expectedSize")
        else:
            self.memory = pointer, size

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        key, known = tuple(sorted(self.shapes.items())), self.engine.output_shapes
        if key not in known:
            zeros = {
                v.name: np.zeros(self.shapes[v.name], _dtype(v))
                for v in self.engine.session.get_inputs()
            }
            known[key] = self.engine.session.run([name], zeros)[0].shape
        return known[key]

    def set_tensor_address(self, name, pointer):
        self.addresses[name] = pointer
        return True

    def execute_async_v3(self, stream):
        assert self.memory[1] >= self.needed()
        session, api = self.engine.session, self.engine.api
        if api.refuses and api.refuses(api.cuda.streams[stream]):
            self.engine.logger.log(Severity.ERROR, api.refusal)
            return False
        shapes, addresses, lent = dict(self.shapes), dict(self.addresses), self.memory
        output = session.get_outputs()[0]

        def job():
            ctypes.memset(lent[0], 0xEE, lent[1])  # whoever else uses this memory will notice
            feeds = {
                v.name: numbers_at(addresses[v.name], shapes[v.name], _dtype(v))
                for v in session.get_inputs()
            }
            result = session.run([output.name], feeds)[0] + np.asarray(api.noise, _dtype(output))
            numbers_at(addresses[output.name], result.shape, _dtype(output))[...] = result
            api.executed += 1

        api.cuda.streams[stream].add(job)
        if self.profiler is not None:
            for node in ("first", "second"):
                self.profiler.report_layer_time(f"{output.name}/{node}", 0.5)
        return True


def _numbers(shapes):
    return sum(int(np.prod(shape)) for shape in shapes)


def _dtype(value):
    return np.dtype({"tensor(float)": np.float32, "tensor(float16)": np.float16}[value.type])


def numbers_at(pointer, shape, dtype):
    """Numbers in fake device memory, as an array on it."""
    size = int(np.prod(shape)) * dtype.itemsize
    return (
        np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
        .view(dtype)
        .reshape(shape)
    )
