// Times `@vladmandic/face-api` on aligned faces: age, gender and expression, on one thread of WebAssembly.
//
//   node tflite_face_api.cjs FOLDER FACES COUNT HEIGHT WIDTH ROUNDS
//
// FOLDER is where `npm install @vladmandic/face-api @tensorflow/tfjs @tensorflow/tfjs-backend-wasm` ran;
// FACES holds COUNT pictures of uint8 RGB. Prints JSON: milliseconds of each call, and its answers.
const fs = require("fs");
const path = require("path");

async function main() {
  const [folder, faces, ...numbers] = process.argv.slice(2);
  const [count, height, width, rounds] = numbers.map(Number);
  const modules = path.join(path.resolve(folder), "node_modules");
  const wasm = require(path.join(modules, "@tensorflow/tfjs-backend-wasm"));
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(path.join(modules, "@tensorflow/tfjs-backend-wasm/dist/"));
  const faceapi = require(path.join(modules, "@vladmandic/face-api/dist/face-api.node-wasm.js"));
  const models = path.join(modules, "@vladmandic/face-api/model");
  await faceapi.tf.setBackend("wasm");
  await faceapi.tf.ready();
  await faceapi.nets.ageGenderNet.loadFromDisk(models);
  await faceapi.nets.faceExpressionNet.loadFromDisk(models);

  const bytes = fs.readFileSync(faces);
  const size = height * width * 3;
  const times = [];
  const answers = [];
  for (let round = 0; round < rounds + 1; round++) {
    for (let index = 0; index < count; index++) {
      const pixels = Float32Array.from(bytes.subarray(index * size, (index + 1) * size));
      const started = performance.now();
      const image = faceapi.tf.tensor3d(pixels, [height, width, 3]);
      const person = await faceapi.nets.ageGenderNet.predictAgeAndGender(image);
      const expressions = await faceapi.nets.faceExpressionNet.predictExpressions(image);
      image.dispose();
      if (round > 0) times.push(performance.now() - started); // the first round compiles
      if (round === 0) answers.push([person.age, person.gender, expressions.happy]);
    }
  }
  console.log(JSON.stringify({ backend: faceapi.tf.getBackend(), times, answers }));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
