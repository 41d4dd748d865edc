// Maps a Metal blob and hands it to Metal without a copy.
//
// NOT COMPILED AND NOT RUN by the project: it is developed without a Mac. It shows how the file is
// meant to be used; docs/metal-blob.md is the specification. On a Mac:
//
//     swiftc -O metal-blob.swift && ./metal-blob NAME.metal/weights.safetensors

import Foundation
import Metal

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// One plane: where it lies in the buffer, in bytes, and what it is.
struct Plane {
    let offset: Int
    let length: Int
    let dtype: String
    let shape: [Int]
}

/// One weight of the metadata.
struct Weight {
    let name: String
    let shape: [Int]
    /// `kind`, `bits`, `lanes`, ...: see docs/metal-blob.md.
    let encoding: [String: Any]
    /// `codes`, `scale`, ... → plane.
    let planes: [String: Plane]
}

/// A mapped blob: one MTLBuffer over the whole file, header included, so that a plane's offset in
/// the buffer is its offset in the file.
final class MetalBlob {
    static let page = 16_384

    let buffer: MTLBuffer
    let weights: [Weight]

    init(path: String, device: MTLDevice) throws {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { throw Failure("cannot open \(path)") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Failure("cannot stat \(path)") }
        let length = Int(status.st_size)
        guard length > 0, length % Self.page == 0 else {
            throw Failure("\(path) is \(length) bytes long, not a multiple of \(Self.page)")
        }

        // Private and writable, so that Metal may map the pages for the GPU; nothing writes to
        // them, so they stay backed by the file.
        guard let address = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0),
            address != MAP_FAILED
        else { throw Failure("cannot map \(path)") }
        do {
            weights = try Self.weights(UnsafeRawBufferPointer(start: address, count: length))
        } catch {
            munmap(address, length)
            throw error
        }
        guard let made = device.makeBuffer(
            bytesNoCopy: address, length: length, options: .storageModeShared,
            deallocator: { pointer, length in munmap(pointer, length) })
        else {
            munmap(address, length)
            throw Failure("Metal refuses a buffer of \(length) bytes over \(path)")
        }
        buffer = made
    }

    /// The metadata's weights, each with its planes.
    private static func weights(_ file: UnsafeRawBufferPointer) throws -> [Weight] {
        guard file.count >= 8 else { throw Failure("no header") }
        let header64 = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
        guard header64 <= UInt64(file.count - 8) else { throw Failure("the header is cut short") }
        let start = 8 + Int(header64)
        guard start % page == 0 else { throw Failure("the data does not start on a page") }

        // Data(...) copies the header alone.
        let header = try JSONSerialization.jsonObject(with: Data(file[8..<start]))
        guard let tensors = header as? [String: Any],
            let metadata = tensors["__metadata__"] as? [String: String],
            metadata["twolane.version"] == "1",
            let text = metadata["twolane.weights"],
            let list = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]]
        else { throw Failure("not a Metal blob of version 1") }

        return try list.map { entry in
            guard let name = entry["name"] as? String,
                let shape = entry["shape"] as? [Int],
                let encoding = entry["encoding"] as? [String: Any],
                let parts = entry["planes"] as? [String: String]
            else { throw Failure("a weight's entry is incomplete") }
            let planes = try parts.mapValues { tensor -> Plane in
                guard let info = tensors[tensor] as? [String: Any],
                    let dtype = info["dtype"] as? String,
                    let shape = info["shape"] as? [Int],
                    let offsets = info["data_offsets"] as? [Int], offsets.count == 2,
                    0 <= offsets[0], offsets[0] <= offsets[1], offsets[1] <= file.count - start
                else { throw Failure("plane \(tensor) of \(name) is not there") }
                return Plane(
                    offset: start + offsets[0], length: offsets[1] - offsets[0],
                    dtype: dtype, shape: shape)
            }
            return Weight(name: name, shape: shape, encoding: encoding, planes: planes)
        }
    }

    /// Binds a plane for a kernel: large ones lie on pages, small ones at multiples of 256 bytes,
    /// which every Metal device takes as an offset.
    func bind(_ plane: Plane, to encoder: MTLComputeCommandEncoder, at index: Int) {
        encoder.setBuffer(buffer, offset: plane.offset, index: index)
    }
}

guard CommandLine.arguments.count == 2 else {
    print("usage: metal-blob WEIGHTS.safetensors")
    exit(2)
}
guard let device = MTLCreateSystemDefaultDevice() else {
    print("no Metal device")
    exit(4)
}
do {
    let blob = try MetalBlob(path: CommandLine.arguments[1], device: device)
    print("\(blob.buffer.length) bytes mapped, none copied, on \(device.name)")
    for weight in blob.weights {
        let kind = weight.encoding["kind"] as? String ?? "?"
        let lanes = weight.encoding["lanes"] as? String ?? "-"
        print("\(weight.name) \(weight.shape) \(kind) \(lanes)")
        for (part, plane) in weight.planes.sorted(by: { $0.value.offset < $1.value.offset }) {
            print("    \(part): \(plane.dtype) \(plane.shape) at \(plane.offset)")
        }
    }
} catch {
    print(error)
    exit(3)
}
