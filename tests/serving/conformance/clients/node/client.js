// Calls TF Serving's API from Node and prints what it answered, as JSON.
//
//   node client.js TARGET MODEL PICTURE [DESCRIPTORS]
//
// DESCRIPTORS: a file with a FileDescriptorSet of the API; without it, the server is asked for its
// own by reflection, which TF Serving does not have.
import { readFileSync } from 'node:fs';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';
import reflectionClient from 'grpc-js-reflection-client';

const OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };
const LIMITS = { 'grpc.max_receive_message_length': 64 << 20 };
const DEADLINE = 30_000;

const [target, model, picture, descriptors] = process.argv.slice(2);
const credentials = grpc.credentials.createInsecure();
const answers = {};

async function byReflection() {
  const client = new reflectionClient.GrpcReflection(target, credentials);
  answers.services = await client.listServices();
  const services = {};
  for (const name of ['PredictionService', 'ModelService']) {
    const found = await client.getDescriptorBySymbol(`tensorflow.serving.${name}`);
    services[name] = found.getPackageObject(OPTIONS).tensorflow.serving[name];
  }
  return services;
}

function byDescriptors() {
  const set = protoLoader.loadFileDescriptorSetFromBuffer(readFileSync(descriptors), OPTIONS);
  return grpc.loadPackageDefinition(set).tensorflow.serving;
}

// What a method answers, or the number and the text of its status.
function call(service, method, request) {
  return new Promise((resolve) => {
    service[method](request, { deadline: Date.now() + DEADLINE }, (error, response) =>
      resolve(error ? { code: error.code, details: error.details } : response),
    );
  });
}

// A float tensor comes number by number or as bytes.
function numbers(tensor) {
  if (tensor.float_val.length) return Array.from(tensor.float_val);
  const bytes = tensor.tensor_content;
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

const { PredictionService, ModelService } = descriptors ? byDescriptors() : await byReflection();
const prediction = new PredictionService(target, credentials, LIMITS);
const models = new ModelService(target, credentials, LIMITS);

const status = await call(models, 'GetModelStatus', { model_spec: { name: model } });
answers.states = Object.fromEntries(
  status.model_version_status.map((one) => [one.version, one.state]),
);

// From descriptors, protobuf.js makes a map a list of entries.
const fromEntries = (entries) => Object.fromEntries(entries.map(({ key, value }) => [key, value]));
const tensor = {
  dtype: 'DT_STRING',
  tensor_shape: { dim: [{ size: 1 }] },
  string_val: [readFileSync(picture)],
};
const inputs = [{ key: 'image_bytes', value: tensor }];
const spec = { name: model, signature_name: 'serving_default' };
const predicted = await call(prediction, 'Predict', {
  model_spec: spec,
  inputs,
  output_filter: ['attributes'],
});
if (predicted.code) throw new Error(`Predict: ${predicted.details}`);
answers.version = predicted.model_spec.version.value;
const outputs = fromEntries(predicted.outputs);
answers.outputs = Object.keys(outputs);
answers.shape = outputs.attributes.tensor_shape.dim.map((one) => one.size);
answers.attributes = numbers(outputs.attributes);

const metadata = await call(prediction, 'GetModelMetadata', {
  model_spec: { name: model },
  metadata_field: ['signature_def'],
});
answers.metadata = Object.keys(fromEntries(metadata.metadata));

const unknown = { ...spec, name: 'nobody' };
answers.unknown = await call(prediction, 'Predict', { model_spec: unknown, inputs });

console.log(JSON.stringify(answers));
prediction.close();
models.close();
