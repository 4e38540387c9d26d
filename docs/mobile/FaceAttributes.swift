// Reads a .tflite file of far_keras and predicts for one aligned face. See docs/mobile.md.
//
// Podfile: pod 'TensorFlowLiteSwift'

import Foundation
import TensorFlowLite

struct Description: Decodable {
    struct Group: Decodable {
        let name: String
        let attributes: [String]
    }
    let attributes: [String]
    let groups: [Group]
    let thresholds: [String: Double]
    let untrained: [String]
    let image_size: Int
    let mask_size: [Int]?
}

enum FaceAttributesError: Error {
    case noMetadata(String)
    case wrongInput(String)
}

final class FaceAttributes {
    let description: Description
    private let interpreter: Interpreter

    struct Prediction {
        let probabilities: [String: Float]
        let decisions: [String: Bool]
        /// Row by row, the groups of a pixel side by side, 0...1; empty without masks.
        let masks: [Float]
    }

    init(path: String, threads: Int = 2) throws {
        let file = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
        guard let json = FaceAttributes.entry("far_keras.json", in: file) else {
            throw FaceAttributesError.noMetadata("\(path): far_keras.json is missing")
        }
        description = try JSONDecoder().decode(Description.self, from: json)
        var options = Interpreter.Options()
        options.threadCount = threads
        interpreter = try Interpreter(modelPath: path, options: options)
        try interpreter.allocateTensors()
    }

    /// Predicts for image_size x image_size x 3 RGB bytes, made by the rules of docs/mobile.md.
    func predict(_ rgb: [UInt8]) throws -> Prediction {
        let size = description.image_size
        guard rgb.count == size * size * 3 else {
            throw FaceAttributesError.wrongInput("expected \(size * size * 3) bytes, got \(rgb.count)")
        }
        let isUInt8 = try interpreter.input(at: 0).dataType == .uInt8
        let input = isUInt8 ? Data(rgb) : rgb.map(Float.init).withUnsafeBytes { Data($0) }
        try interpreter.copy(input, toInputAt: 0)
        try interpreter.invoke()
        var scores: [Float] = []
        var masks: [Float] = []
        for index in 0..<interpreter.outputTensorCount {
            let tensor = try interpreter.output(at: index)
            let values = tensor.data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
            // Attributes are (1, A), masks (1, height, width, groups).
            if tensor.shape.rank == 2 { scores = values } else { masks = values }
        }
        let probabilities = Dictionary(uniqueKeysWithValues: zip(description.attributes, scores))
        let decisions = Dictionary(uniqueKeysWithValues: probabilities.map { name, value in
            (name, Double(value) >= description.thresholds[name] ?? 0.5)
        })
        return Prediction(probabilities: probabilities, decisions: decisions, masks: masks)
    }

    /// The six numbers of the similarity (x, y) -> (a x - b y + c, b x + a y + f); whole numbers are
    /// pixel centres. `left` is the eye on the image's left.
    static func similarity(left: CGPoint, right: CGPoint) -> (a: Double, b: Double, c: Double, f: Double) {
        let dx = Double(right.x - left.x), dy = Double(right.y - left.y)
        let square = dx * dx + dy * dy
        precondition(square > 1e-6, "the eyes are in one place")
        let a = 39 * dx / square, b = -39 * dy / square
        let c = 69.5 - (a * Double(left.x) - b * Double(left.y))
        let f = 111 - (b * Double(left.x) + a * Double(left.y))
        return (a, b, c, f)
    }

    /// An entry of the zip archive at a file's end. Entries are stored, not compressed.
    static func entry(_ wanted: String, in file: Data) -> Data? {
        func number(_ at: Int, _ count: Int) -> Int {
            (0..<count).reduce(0) { $0 | Int(file[file.startIndex + at + $1]) << (8 * $1) }
        }
        // The archive ends with a record of 22 bytes that begins with PK\5\6.
        var end = file.count - 22
        while end >= 0, number(end, 4) != 0x0605_4b50 { end -= 1 }
        guard end >= 0 else { return nil }
        var position = number(end + 16, 4)
        for _ in 0..<number(end + 10, 2) {
            guard number(position, 4) == 0x0201_4b50 else { return nil }
            let size = number(position + 24, 4), nameLength = number(position + 28, 2)
            let start = file.startIndex + position + 46
            let name = String(decoding: file[start..<start + nameLength], as: UTF8.self)
            if name == wanted {
                let header = number(position + 42, 4)
                let data = header + 30 + number(header + 26, 2) + number(header + 28, 2)
                return file.subdata(in: file.startIndex + data..<file.startIndex + data + size)
            }
            position += 46 + nameLength + number(position + 30, 2) + number(position + 32, 2)
        }
        return nil
    }
}
