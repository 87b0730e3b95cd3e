"""The pipeline behind `configure()`: from an ended span to an OTLP endpoint, each one counted.

`pipeline.build` is the one door; what stands behind it (at present the SDK's batch processor and
the maintained OTLP exporters) may change without anything outside this room knowing.
"""
