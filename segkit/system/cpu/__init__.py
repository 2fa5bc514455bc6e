"""What makes training on a CPU fast: precision by measurement, memory that is kept, depthwise convolutions in fp32."""
