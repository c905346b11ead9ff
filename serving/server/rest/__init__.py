"""TensorFlow Serving's REST protocol on top of a SavedModel, one subject a module.

Only `examples` needs TensorFlow, for its message types, and imports it when it is asked.

urls                 a request's method and target -> what is asked
json_text            a body -> a JSON value
tensors_from_json    a JSON value and a signature -> tensors
tensors_to_json      tensors -> a body
reports              status and metadata bodies
status               codes, the error body
signature            what a SavedModel takes and gives, by name
examples             classify and regress requests
service              all of the above, in the order in which TensorFlow Serving checks
"""
