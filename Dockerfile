# docker build -t cloudfix . && docker run --rm -v "$PWD:/data" cloudfix run scene.tif -o clear.tif
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY cloudfix ./cloudfix
RUN pip install --no-cache-dir --constraint constraints.txt .

WORKDIR /data
ENTRYPOINT ["cloudfix"]
CMD ["--help"]
