# Whether the CUDA backend is built: sets SHOAL_HAS_CUDA, and then enables the language and makes the
# targets CUDA::cudart_static and CUDA::cublasLt.
#
# CMAKE_CUDA_ARCHITECTURES, unless given, is what the everyday build is for; all that shoal supports
# are in the preset "cuda". The newest comes with PTX, which later GPUs compile for themselves.
include(CheckLanguage)
set(SHOAL_HAS_CUDA OFF)
set(SHOAL_CUDA_ALL_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120)

if(NOT SHOAL_CUDA STREQUAL "OFF")
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        find_package(CUDAToolkit 12.0 QUIET)
    endif()
    if(CMAKE_CUDA_COMPILER AND TARGET CUDA::cublasLt)
        set(SHOAL_HAS_CUDA ON)
    elseif(SHOAL_CUDA STREQUAL "AUTO")
        message(STATUS "No CUDA backend: nvcc or cuBLASLt, 12.0 or newer, was not found")
    else()
        message(FATAL_ERROR "SHOAL_CUDA=${SHOAL_CUDA}, but nvcc or cuBLASLt, 12.0 or newer, was not "
            "found: install the CUDA toolkit, put nvcc on PATH, or use SHOAL_CUDA=OFF")
    endif()
endif()

if(SHOAL_HAS_CUDA)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
    elseif(CMAKE_CUDA_ARCHITECTURES STREQUAL "all-shoal")
        set(CMAKE_CUDA_ARCHITECTURES ${SHOAL_CUDA_ALL_ARCHITECTURES})
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_EXTENSIONS OFF)
    set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
    list(JOIN CMAKE_CUDA_ARCHITECTURES ", " shown)
    message(STATUS "CUDA backend: toolkit ${CUDAToolkit_VERSION}, architectures ${shown}")
endif()
