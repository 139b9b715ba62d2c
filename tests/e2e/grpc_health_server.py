"""A gRPC server with the standard health service: SERVING, or NOT_SERVING while a file exists.

Usage: grpc_health_server.py PORT FILE.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Health(health_pb2_grpc.HealthServicer):
    def Check(self, request: object, context: object) -> health_pb2.HealthCheckResponse:
        word = "NOT_SERVING" if os.path.exists(sys.argv[2]) else "SERVING"
        return health_pb2.HealthCheckResponse(status=word)


server = grpc.server(ThreadPoolExecutor(max_workers=4))
health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
server.add_insecure_port(f"[::]:{sys.argv[1]}")
server.start()
server.wait_for_termination()
