"""TensorFlow Serving's REST protocol on top of a SavedModel, one subject a module.

Only `examples` needs TensorFlow, for its message types, and imports it when it is first used.

urls                 a request's method and target -> the model, version and verb
json_text            a body -> a JSON value
tensors_from_json    a JSON value and a signature -> tensors
tensors_to_json      tensors -> a body
reports              status and metadata bodies
examples             classify and regress requests
service              all of these, in the order in which TensorFlow Serving checks
"""
